package import DRPKit
package import Foundation
internal import Glibc

/// Deploys clients as containers of one host: MongoDB as a one-member replica set, Redis, the client's API, and an edge that
/// answers HTTPS at an address of its own, on networks of the client alone (`docs/explanation/docker-sites.md`).
///
/// drp's own record is written before anything is made and again when all runs; every act between is such that doing it twice
/// is doing it once, so a crash at any point is mended by deploying again. What does not bear the client's labels is never
/// touched.
package struct DockerDeployer: Deployer {
    let site: DockerSite
    let engine: DockerEngine
    /// To what answers inside the site; nil where its host is this machine.
    let way: SiteReach.Way?
    let administrator: any RemoteDatabaseAdministrator
    let http: any HTTPClient
    /// Reaches the host's packet filter, where drills are counted.
    let host: HostCommand
    let clock: any WallClock

    package init(
        _ site: DockerSite, engine: DockerEngine, way: SiteReach.Way?,
        administrator: any RemoteDatabaseAdministrator, http: any HTTPClient, clock: any WallClock,
        host: @escaping HostCommand
    ) {
        self.site = site
        self.engine = engine
        self.way = way
        self.administrator = administrator
        self.http = http
        self.host = host
        self.clock = clock
    }

    package func plan(_ spec: DeploymentSpec) async throws -> [String] {
        let container = try check(spec)
        let names = names(of: spec.client)
        let inventory = try await DockerInventory(engine, names)
        try inventory.check(owner: spec.owner, site: site.name)
        let found = try folder(of: spec.client).read()
        if let found { try check(found, belongsTo: spec.owner) }
        let address = try found?.address ?? freeAddress(for: spec.client)
        let out = site.isDrill ? "none of them has a way out" : "the last two have no way out"
        let front = site.isDrill ? "reached by drp alone" : "at \(address)"
        let verb = inventory.isEmpty ? "make" : "continue with"
        var lines = [
            "\(verb) the networks \(names.prefix)edge, \(names.prefix)mongo and \(names.prefix)redis; \(out)",
            "start mongod as replica set \(spec.client), with the users drp-admin and drp-app (\(site.images.mongo))",
            "start redis-server, with the users drp and app (\(site.images.redis))",
            "start the API on port \(spec.apiPort) of its container (\(container.image))",
            "start the edge, \(front): HTTPS for \(container.domains.joined(separator: ", ")), HTTP redirected",
        ]
        for image in images(container) {
            guard try await engine.image(image) == nil else { continue }
            lines.append("not yet possible: the image \(image) is not on the host")
        }
        return lines
    }

    package func observe(_ client: ClientID) async throws -> DeploymentState {
        let inventory = try await DockerInventory(engine, names(of: client))
        let folder = folder(of: client)
        guard let deployment = try folder.read() else {
            try inventory.check(owner: nil, site: site.name)
            guard let labels = inventory.labels else { return .absent }
            return try orphan(client, labels, folder)
        }
        try inventory.check(owner: deployment.owner, site: site.name)
        var missing: [String] = []
        if deployment.phase == .intended { missing.append("the deployment was not finished") }
        let names = inventory.names
        missing += DockerNetworkRole.allCases.filter { inventory.network($0) == nil }
            .map { "network \(names.network($0)) is missing" }
        missing += DockerVolumeRole.allCases.filter { inventory.volume($0) == nil }
            .map { "volume \(names.volume($0)) is missing" }
        for role in DockerRole.allCases {
            guard let container = inventory.container(role) else {
                missing.append("\(role.rawValue) is missing")
                continue
            }
            if !container.isRunning {
                missing.append("\(role.rawValue) does not run")
            } else if container.isUnhealthy {
                missing.append("\(role.rawValue) is unhealthy")
            } else if !(try await answers(role, deployment, folder)) {
                missing.append("\(role.rawValue) does not answer")
            }
        }
        return missing.isEmpty ? .complete(deployment) : .partial(deployment, missing: missing)
    }

    package func deploy(_ spec: DeploymentSpec) async throws -> Deployment {
        let container = try check(spec)
        let folder = folder(of: spec.client)
        var inventory = try await DockerInventory(engine, names(of: spec.client))
        try inventory.check(owner: spec.owner, site: site.name)
        let found = try folder.read()
        if let found {
            try check(found, belongsTo: spec.owner)
            if found.run != spec.run {
                if !spec.discardsOld { try await refuseData(in: found, inventory, folder) }
                try await remove(spec.client, owner: spec.owner)
                inventory = try await DockerInventory(engine, inventory.names)
            }
        } else if let volume = DockerVolumeRole.allCases.lazy.compactMap({ inventory.volume($0) }).first {
            guard spec.discardsOld else {
                throw DeployError(
                    .notEmpty, "volume \(volume.name)",
                    "it stands since run \(Self.run(volume.labels)), and drp has no passwords for it in \(folder.path)")
            }
            try await remove(spec.client, owner: spec.owner)
            inventory = try await DockerInventory(engine, inventory.names)
        }
        for image in images(container) {
            guard try await engine.image(image) == nil else { continue }
            throw DeployError(.absent, "image \(image)", "it is not on the host of site \(site.name): pull it there")
        }
        // Waits for the lock of another deployment at this site: not on the cooperative pool.
        let deployment = try await OwnThread.run("deploy") { try intend(spec, container, folder) }
        Failpoint.hit("deploy.intended")
        return try await make(deployment, container, folder, inventory)
    }

    package func start(_ client: ClientID) async throws -> Deployment {
        let folder = folder(of: client)
        guard let deployment = try folder.read() else {
            throw DeployError(.absent, "client \(client)", "it is not deployed at site \(site.name)")
        }
        let inventory = try await DockerInventory(engine, names(of: client))
        try inventory.check(owner: deployment.owner, site: site.name)
        for role in DockerRole.allCases where inventory.container(role) == nil {
            throw DeployError(
                .notStarted, "container \(inventory.names.container(role))", "it is gone: deploy the client again")
        }
        try await startDatabases(deployment, folder)
        try await startFront(deployment, folder)
        return deployment
    }

    package func stop(_ client: ClientID) async throws {
        let inventory = try await DockerInventory(engine, names(of: client))
        try inventory.check(owner: try folder(of: client).read()?.owner, site: site.name)
        try await stop(inventory)
    }

    package func fence(_ client: ClientID) async throws {
        let inventory = try await DockerInventory(engine, names(of: client))
        let deployment = try folder(of: client).read()
        try inventory.check(owner: deployment?.owner, site: site.name)
        if let deployment {
            // First: what is stopped without it, the host's guard would start again.
            let body: JSONValue = [
                "Name": .text(inventory.names.fence), "Driver": "local",
                "Labels": .object(DockerLabels.of(deployment, role: "fenced")),
            ]
            try await engine.createVolume(inventory.names.fence, body)
        }
        try await stop(inventory)
    }

    private func stop(_ inventory: DockerInventory) async throws {
        for role in DockerRole.allCases.reversed() {
            guard let container = inventory.container(role), container.isRunning else { continue }
            try await engine.stopContainer(container.id, within: site.stopDeadline)
        }
    }

    package func remove(_ client: ClientID, owner: UUID) async throws {
        let folder = folder(of: client)
        let inventory = try await DockerInventory(engine, names(of: client))
        try inventory.check(owner: owner, site: site.name)
        if let deployment = try folder.read() { try check(deployment, belongsTo: owner) }
        let containers = DockerRole.allCases.reversed().compactMap { inventory.container($0) }
        for container in [inventory.courier].compactMap({ $0 }) + containers {
            try await engine.removeContainer(container.id, clock: clock)
        }
        for role in DockerNetworkRole.allCases {
            if let network = inventory.network(role) { try await engine.removeNetwork(network.id) }
        }
        for role in DockerVolumeRole.allCases where inventory.volume(role) != nil {
            try await engine.removeVolume(inventory.names.volume(role))
        }
        if inventory.isFenced { try await engine.removeVolume(inventory.names.fence) }
        // Last: as long as anything stands at the site, its passwords are here.
        try folder.remove()
        if site.isDrill { try await counter(of: client).end() }
    }

    package func packets(of client: ClientID) async throws -> PacketCount? {
        site.isDrill ? try await counter(of: client).read() : nil
    }

    func counter(of client: ClientID) -> PacketCounter { PacketCounter(names(of: client), run: host) }

    // MARK: Checks

    func names(of client: ClientID) -> DockerNames { DockerNames(client: client, isDrill: site.isDrill) }

    func folder(of client: ClientID) -> DeploymentFolder { DeploymentFolder(site: site.folder, client: client) }

    private func images(_ container: ContainerSpec) -> [String] {
        [site.images.mongo, site.images.redis, container.image, site.images.edge]
    }

    private func check(_ spec: DeploymentSpec) throws(DeployError) -> ContainerSpec {
        guard site.folder.hasPrefix("/"), !site.addresses.isEmpty, site.addresses.allSatisfy(FreePorts.isAddress)
        else {
            throw DeployError(
                .settings, "site \(site.name)",
                "it needs an absolute folder and frontends whose addresses are IPv4 addresses")
        }
        guard let container = spec.container, !container.image.isEmpty, (1...65_535).contains(spec.apiPort) else {
            throw DeployError(.settings, "client \(spec.client)", "its api has no image or no valid port")
        }
        guard !container.domains.isEmpty, container.domains.allSatisfy(NetworkText.isDomain) else {
            throw DeployError(.settings, "client \(spec.client)", "a site with containers needs the client's domains")
        }
        let hasKey = container.key.withText { $0.contains("PRIVATE KEY-----") }
        guard container.certificate.contains("-----BEGIN CERTIFICATE-----"), hasKey else {
            throw DeployError(.settings, "client \(spec.client)", "its certificate or its key is not in the form PEM")
        }
        guard container.secrets.keys.allSatisfy({ ClientID($0) != nil }) else {
            throw DeployError(.settings, "client \(spec.client)", "a name of its api's secrets is no name")
        }
        return container
    }

    private func check(_ deployment: Deployment, belongsTo owner: UUID) throws(DeployError) {
        guard deployment.owner == owner else {
            throw DeployError(
                .foreign, deployment.folder, "it belongs to the client uuid \(deployment.owner.uuidString.lowercased())"
            )
        }
    }

    private static func run(_ labels: [String: String]?) -> String {
        labels?[DockerLabels.run].map(DockerEngine.printable) ?? "unknown"
    }

    /// Another run may take an old deployment over only if its databases are empty.
    private func refuseData(
        in deployment: Deployment, _ inventory: DockerInventory, _ folder: DeploymentFolder
    ) async throws {
        guard DockerVolumeRole.allCases.contains(where: { $0.isData && inventory.volume($0) != nil }) else { return }
        let whose = "run \(deployment.run) (\(deployment.client))"
        guard let mongo = inventory.container(.mongo), let redis = inventory.container(.redis),
            let inside = deployment.inside, let passwords = try folder.knownPasswords()
        else {
            throw DeployError(
                .notEmpty, "volumes of \(whose)",
                "whether they hold data cannot be known without their containers: remove that deployment first")
        }
        let wasRunning = mongo.isRunning && redis.isRunning
        try await engine.startContainer(mongo.id)
        try await engine.startContainer(redis.id)
        for role in [DockerRole.mongo, .redis] { try await ready(role, deployment, folder) }
        let inMongo = try await administrator.mongoHoldsData(
            try await endpoint(DockerURIs.mongoInternal(passwords, at: inside.mongo), inside.mongo))
        let inRedis =
            try await administrator.redisKeyCount(
                try await endpoint(DockerURIs.redis(passwords, at: inside.redis), inside.redis)) ?? 0
        guard inMongo || inRedis > 0 else { return }
        if !wasRunning { try await stop(deployment.client) }
        throw DeployError(.notEmpty, "volumes \(inventory.names.prefix)*-data", "they hold data of \(whose)")
    }

    /// What stands there was made by another drp, or its files here are lost.
    private func orphan(
        _ client: ClientID, _ labels: [String: String], _ folder: DeploymentFolder
    ) throws -> DeploymentState {
        guard let owner = labels[DockerLabels.owner].flatMap({ UUID(uuidString: $0) }),
            let epoch = labels[DockerLabels.epoch].flatMap({ Int($0) })
        else { throw DeployError(.foreign, "client \(client)", "the labels of its containers are not drp's") }
        let deployment = Deployment(
            client: client, owner: owner, epoch: epoch, run: Self.run(labels), site: site.name,
            address: site.addresses.first ?? "",
            ports: .init(mongo: DockerFiles.mongoPort, redis: DockerFiles.redisPort, api: 0), folder: folder.path,
            apiCommand: [], secretFiles: folder.secretFiles, phase: .intended)
        return .partial(deployment, missing: ["drp's own files of it are missing: \(folder.path)"])
    }

    // MARK: Intent

    /// Takes or makes the record of this deployment, under a lock, so that two clients never choose the same address.
    private func intend(
        _ spec: DeploymentSpec, _ container: ContainerSpec, _ folder: DeploymentFolder
    ) throws -> Deployment {
        do { try FileManager.default.createDirectory(atPath: site.folder, withIntermediateDirectories: true) } catch {
            throw DeployError(.unusable, site.folder, "the site's folder cannot be made")
        }
        let lock = open("\(site.folder)/.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0, flock(lock, LOCK_EX) == 0 else {
            throw DeployError(.unusable, site.folder, "it cannot be locked (\(String(cString: strerror(errno))))")
        }
        defer { close(lock) }
        let found = try folder.read()
        let address = try found.map(\.address) ?? freeAddress(for: spec.client)
        let deployment = Deployment(
            client: spec.client, owner: spec.owner, epoch: spec.epoch, run: spec.run, site: site.name,
            address: address,
            ports: .init(mongo: DockerFiles.mongoPort, redis: DockerFiles.redisPort, api: spec.apiPort),
            folder: folder.path, apiCommand: [], secretFiles: folder.secretFiles, phase: .intended,
            inside: found?.inside, domains: container.domains)
        try PrivateFiles.makeFolder(folder.path)
        try PrivateFiles.write(json: deployment, to: folder.record)
        // After the record: a folder with anything else and no record is nobody's.
        try PrivateFiles.makeFolder("\(folder.path)/secrets")
        return deployment
    }

    private func freeAddress(for client: ClientID) throws(DeployError) -> String {
        // A drill is published nowhere.
        if site.isDrill { return "" }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: site.folder)) ?? []
        let taken = Set(
            names.compactMap(ClientID.init).filter { $0 != client }
                // A neighbour that cannot be read reserves nothing; the engine still refuses an address in use.
                .compactMap { (try? folder(of: $0).read())?.address })
        guard let free = site.addresses.first(where: { !taken.contains($0) }) else {
            throw DeployError(
                .settings, "site \(site.name)",
                "each of its \(site.addresses.count) frontends serves a client already: give it another address")
        }
        return free
    }
}
