internal import DRPKit
internal import Foundation

extension DockerDeployer {
    /// Makes what is missing of a stack, replaces containers that are made of something else, and starts all.
    func make(
        _ intended: Deployment, _ spec: ContainerSpec, _ folder: DeploymentFolder, _ inventory: DockerInventory
    ) async throws -> Deployment {
        var deployment = intended
        let passwords = try folder.passwords()
        let stack = DockerStack(site: site, deployment: deployment, spec: spec, names: inventory.names)
        let subnets = try await makeNetworks(stack, inventory)
        Failpoint.hit("deploy.networks")
        if site.isDrill {
            // Before anything runs in them.
            let counter = counter(of: deployment.client)
            for role in DockerNetworkRole.allCases {
                try await counter.begin(bridge: inventory.names.bridge(role), subnets[role])
            }
        }
        let server = DockerStack.serverNumber
        deployment.inside = Deployment.Inside(
            mongo: HostPort(host: subnets[.mongo].address(server), port: DockerFiles.mongoPort),
            redis: HostPort(host: subnets[.redis].address(server), port: DockerFiles.redisPort),
            edge: HostPort(host: subnets[.edge].address(server), port: DockerFiles.tlsPort))
        try PrivateFiles.write(json: deployment, to: folder.record)
        try folder.writeContainerSecrets(passwords, of: deployment, certificate: spec.certificate)

        let files = try DockerFiles(
            deployment, spec, passwords, apiAddress: subnets[.edge].address(DockerStack.apiNumber),
            cacheMiB: site.mongoCacheMiB)
        try await makeContainers(stack, subnets, files, inventory, key: passwords.mongoMembers)
        Failpoint.hit("deploy.made")
        try await startDatabases(deployment, folder)
        Failpoint.hit("deploy.databases")
        try await startFront(deployment, folder)
        Failpoint.hit("deploy.api")
        deployment.phase = .complete
        try PrivateFiles.write(json: deployment, to: folder.record)
        return deployment
    }

    /// The addresses of a client's networks.
    struct Subnets: Sendable {
        var byRole: [DockerNetworkRole: Subnet]

        subscript(role: DockerNetworkRole) -> Subnet {
            guard let subnet = byRole[role] else { preconditionFailure("no network \(role.rawValue) was made") }
            return subnet
        }
    }

    private func makeNetworks(_ stack: DockerStack, _ inventory: DockerInventory) async throws -> Subnets {
        var taken = inventory.takenSubnets
        var subnets: [DockerNetworkRole: Subnet] = [:]
        for role in DockerNetworkRole.allCases {
            if let network = inventory.network(role) {
                guard let subnet = network.subnets.first(where: { $0.length <= 28 }) else {
                    throw DeployError(.foreign, "network \(network.name)", "its addresses are not as drp makes them")
                }
                subnets[role] = subnet
                continue
            }
            let subnet = try await makeNetwork(stack, role, besides: taken)
            taken.append(subnet)
            subnets[role] = subnet
        }
        return Subnets(byRole: subnets)
    }

    /// Another client's deployment may take the same block at the same moment; the engine lets one of them have it.
    private func makeNetwork(
        _ stack: DockerStack, _ role: DockerNetworkRole, besides taken: [Subnet]
    ) async throws -> Subnet {
        for subnet in site.subnets.blocks(ofLength: 28, besides: taken).prefix(64) {
            let name = stack.names.network(role)
            if try await engine.createNetwork(name, stack.network(role, subnet)) { return subnet }
        }
        throw DeployError(
            .unusable, "site \(site.name)", "no 16 addresses of \(site.subnets) are left for a network")
    }

    /// A container with the right label exists only after its files were put in place.
    private func makeContainers(
        _ stack: DockerStack, _ subnets: Subnets, _ files: DockerFiles, _ inventory: DockerInventory, key: String
    ) async throws {
        let bodies = try DockerRole.allCases.map { role in
            let digest = files.digest(of: .files(of: role), key: key)
            let (body, label) = try stack.container(
                role, subnets[DockerStack.home(of: role)], filesDigest: digest)
            return (role, body, label)
        }
        let wanted = bodies.filter { inventory.container($0.0)?.labels?[DockerLabels.digest] != $0.2 }
        if let courier = inventory.courier { try await engine.removeContainer(courier.id, clock: clock) }
        for (role, _, _) in wanted.reversed() {
            guard let old = inventory.container(role) else { continue }
            try await engine.stopContainer(old.id, within: site.stopDeadline)
            try await engine.removeContainer(old.id, clock: clock)
        }
        for role in DockerVolumeRole.allCases where inventory.volume(role) == nil {
            try await engine.createVolume(stack.names.volume(role), stack.volume(role))
        }
        if !wanted.isEmpty { try await carry(files, stack) }
        for (role, body, _) in wanted { try await engine.createContainer(stack.names.container(role), body) }
        try await connectAPI(stack, subnets, isNew: wanted.contains { $0.0 == .api }, inventory)
    }

    private func carry(_ files: DockerFiles, _ stack: DockerStack) async throws {
        try await engine.createContainer(stack.names.courier, stack.courier())
        try await engine.put(stack.cargo(files), into: stack.names.courier, at: "/drp")
        try await engine.removeContainer(stack.names.courier, clock: clock)
        Failpoint.hit("deploy.carried")
    }

    private func connectAPI(
        _ stack: DockerStack, _ subnets: Subnets, isNew: Bool, _ inventory: DockerInventory
    ) async throws {
        let members = isNew ? [] : inventory.container(.api)?.networks ?? []
        for role in DockerStack.networks(of: .api) where role != DockerStack.home(of: .api) {
            let network = stack.names.network(role)
            guard !members.contains(network) else { continue }
            try await engine.connect(
                stack.names.container(.api), to: network, DockerStack.endpoint(.api, subnets[role]))
        }
    }

    // MARK: Start

    /// Starts MongoDB and Redis, and makes the replica set and the users where they are not.
    func startDatabases(_ deployment: Deployment, _ folder: DeploymentFolder) async throws {
        let names = names(of: deployment.client)
        guard let inside = deployment.inside, let passwords = try folder.knownPasswords() else {
            throw DeployError(.notStarted, deployment.folder, "the deployment was not finished: deploy it again")
        }
        let inventory = try await DockerInventory(engine, names)
        if inventory.isFenced { try await engine.removeVolume(names.fence) }
        for role in [DockerRole.mongo, .redis] { try await engine.startContainer(names.container(role)) }
        try await ready(.mongo, deployment, folder)
        let mongo = try await endpoint(DockerURIs.mongoInternal(passwords, at: inside.mongo), inside.mongo)
        try await administrator.initiateReplicaSet(
            mongo, member: HostPort(host: "mongo", port: DockerFiles.mongoPort), name: deployment.client.text)
        Failpoint.hit("deploy.initiated")
        try await administrator.createUsers(
            mongo,
            users: [
                DatabaseUser(name: "drp-admin", password: Secret(passwords.mongoForDRP), role: "root"),
                DatabaseUser(name: "drp-app", password: Secret(passwords.mongoForApp), role: "readWriteAnyDatabase"),
            ])
        try await ready(.redis, deployment, folder)
    }

    /// Starts API and edge.
    func startFront(_ deployment: Deployment, _ folder: DeploymentFolder) async throws {
        let names = names(of: deployment.client)
        for role in [DockerRole.api, .edge] { try await engine.startContainer(names.container(role)) }
        for role in [DockerRole.edge, .api] { try await ready(role, deployment, folder) }
    }

    /// Waits until the service answers.
    func ready(_ role: DockerRole, _ deployment: Deployment, _ folder: DeploymentFolder) async throws {
        let names = names(of: deployment.client)
        let end = clock.now.addingTimeInterval(site.startDeadline / .seconds(1))
        let subject = "container \(names.container(role))"
        while !(try await answers(role, deployment, folder)) {
            let container = try await engine.containers(namePrefix: names.container(role))
                .first { $0.names.contains("/\(names.container(role))") }
            guard container?.isRunning == true else {
                throw DeployError(
                    .notStarted, subject, "it ended; see `docker logs \(names.container(role))` on the host")
            }
            guard clock.now < end else {
                throw DeployError(
                    .late, subject,
                    "no answer within \(Int(site.startDeadline / .seconds(1))) s; see `docker logs \(names.container(role))` on the host"
                )
            }
            try await clock.sleep(for: .milliseconds(100))
        }
    }

    func answers(_ role: DockerRole, _ deployment: Deployment, _ folder: DeploymentFolder) async throws -> Bool {
        do { return try await asked(role, deployment, folder) } catch let error as SSHError {
            // The way is open up to the host, and nothing listens there.
            guard case .serviceUnreachable = error.reason else { throw error }
            return false
        }
    }

    private func asked(_ role: DockerRole, _ deployment: Deployment, _ folder: DeploymentFolder) async throws -> Bool {
        guard let inside = deployment.inside, let passwords = try folder.knownPasswords() else { return false }
        switch role {
        case .mongo:
            let open = Secret("mongodb://\(inside.mongo)/?directConnection=true")
            return try await administrator.mongoAnswers(try await endpoint(open, inside.mongo))
        case .redis:
            let uri = DockerURIs.redis(passwords, at: inside.redis)
            return try await administrator.redisKeyCount(try await endpoint(uri, inside.redis)) != nil
        case .edge:
            return try await edgeStatus(deployment, inside, folder) != nil
        case .api:
            // The edge's own words for an API that does not answer it; whether an answer is a good one is for `HTTPCheck` to say.
            guard let status = try await edgeStatus(deployment, inside, folder) else { return false }
            return ![502, 503, 504].contains(status)
        }
    }

    /// A server inside the site, as it is reached from here.
    func endpoint(_ uri: Secret, _ place: HostPort) async throws -> DatabaseEndpoint {
        DatabaseEndpoint(uri: uri, socket: try await way?(place))
    }

    /// - Returns: nil unless the edge answers with the client's certificate.
    private func edgeStatus(
        _ deployment: Deployment, _ inside: Deployment.Inside, _ folder: DeploymentFolder
    ) async throws -> Int? {
        guard let domain = deployment.domains?.first else { return nil }
        let edge = inside.edge
        var request = HTTPRequest(url: "https://\(domain):\(edge.port)/")
        if let way {
            request.unixSocket = try await way(edge)
        } else {
            request.route = HTTPRequest.Route(host: domain, port: edge.port, address: edge.host)
        }
        // Nothing but this certificate, or one that it leads to, will do.
        request.caFile = folder.secret("edge-chain.pem")
        request.deadline = .seconds(5)
        do { return try await http.send(request).status } catch is HTTPError { return nil }
    }
}
