package import DRPKit
package import Foundation
internal import Glibc

/// A site that is a folder on this machine.
package struct LocalProcessSite: Sendable, Hashable {
    package var name: SiteName
    /// Absolute; `<folder>/<client>` is drp's.
    package var folder: String
    /// IPv4: servers and API listen there alone, and DNS gets it. Setting up MongoDB's first user needs one of
    /// 127.0.0.0/8 (the localhost exception).
    package var address: String
    /// A path, or a name to be found on PATH.
    package var mongod = "mongod"
    package var redisServer = "redis-server"
    package var mongoCacheMiB = 256
    package var startDeadline = Duration.seconds(60)
    package var stopDeadline = Duration.seconds(20)

    package init(name: SiteName, folder: String, address: String) {
        self.name = name
        self.folder = folder
        self.address = address
    }
}

/// Deploys clients as processes of this machine: mongod as a one-member replica set, redis-server, and the
/// client's API, in sessions of their own, so that they outlive drp.
///
/// `deployment.json` is written before anything is made and again when all runs; every act between is such
/// that doing it twice is doing it once, so a crash at any point is mended by deploying again.
package struct LocalProcessDeployer: Deployer {
    private let site: LocalProcessSite
    private let administrator: any DatabaseAdministrator
    private let http: any HTTPClient
    private let clock: any WallClock

    package init(
        _ site: LocalProcessSite, administrator: any DatabaseAdministrator, http: any HTTPClient, clock: any WallClock
    ) {
        self.site = site
        self.administrator = administrator
        self.http = http
        self.clock = clock
    }

    package func plan(_ spec: DeploymentSpec) async throws -> [String] {
        let folder = folder(of: spec.client)
        let found = try folder.read()
        if let found { try check(found, belongsTo: spec.owner) }
        let verb = found == nil ? "make" : "continue with"
        return [
            "\(verb) the folder \(folder.path) (mode 0700) with new database passwords in files of mode 0600",
            "start mongod as replica set \(spec.client) at \(site.address), with the users drp-admin and drp-app",
            "start redis-server at \(site.address), with the users drp and app",
            "start the API at \(site.address):\(spec.apiPort): \(spec.apiCommand.first ?? "")",
        ]
    }

    package func observe(_ client: ClientID) async throws -> DeploymentState {
        let folder = folder(of: client)
        guard let deployment = try folder.read() else { return .absent }
        var missing: [String] = []
        if deployment.phase == .intended { missing.append("the deployment was not finished") }
        for service in DeploymentFolder.services {
            if folder.process(service).find() == nil {
                missing.append("\(service) does not run")
            } else if !(try await answers(service, deployment)) {
                missing.append("\(service) does not answer")
            }
        }
        return missing.isEmpty ? .complete(deployment) : .partial(deployment, missing: missing)
    }

    package func deploy(_ spec: DeploymentSpec) async throws -> Deployment {
        let folder = folder(of: spec.client)
        try check(spec)
        var found = try folder.read()
        if let old = found, old.run != spec.run {
            try check(old, belongsTo: spec.owner)
            if spec.discardsOld {
                try await remove(spec.client, owner: spec.owner)
                found = nil
            } else {
                try await refuseData(in: old, folder)
            }
        }
        // Waits for the lock of another deployment at this site: not on the cooperative pool.
        var deployment = try await OwnThread.run("deploy") { try intend(spec, folder) }
        Failpoint.hit("deploy.intended")
        if let found, found.apiCommand != spec.apiCommand || found.ports.api != spec.apiPort {
            try await folder.process("api").stop(deadline: site.stopDeadline, clock: clock)
        }
        try await startDatabases(deployment, folder)
        Failpoint.hit("deploy.databases")
        try await startAPI(deployment, folder)
        Failpoint.hit("deploy.api")
        deployment.phase = .complete
        try PrivateFiles.write(json: deployment, to: folder.record)
        return deployment
    }

    package func start(_ client: ClientID) async throws -> Deployment {
        let folder = folder(of: client)
        guard let deployment = try folder.read() else { throw absent(client) }
        try await startDatabases(deployment, folder)
        try await startAPI(deployment, folder)
        return deployment
    }

    package func stop(_ client: ClientID) async throws {
        let folder = folder(of: client)
        guard try folder.read() != nil else { return }
        for service in DeploymentFolder.services.reversed() {
            try await folder.process(service).stop(deadline: site.stopDeadline, clock: clock)
        }
    }

    package func remove(_ client: ClientID, owner: UUID) async throws {
        let folder = folder(of: client)
        if let deployment = try folder.read() {
            try check(deployment, belongsTo: owner)
            try await stop(client)
        }
        try folder.remove()
    }

    // MARK: Intent

    private func folder(of client: ClientID) -> DeploymentFolder { DeploymentFolder(site: site.folder, client: client) }

    private func check(_ spec: DeploymentSpec) throws(DeployError) {
        guard site.folder.hasPrefix("/"), !site.folder.utf8.contains(where: { $0 < 0x20 }) else {
            throw DeployError(.settings, "site \(site.name)", "its folder is no absolute path: \(site.folder)")
        }
        guard FreePorts.isAddress(site.address) else {
            throw DeployError(.settings, "site \(site.name)", "its address is no IPv4 address: \(site.address)")
        }
        guard !spec.apiCommand.isEmpty, (1...65_535).contains(spec.apiPort) else {
            throw DeployError(.settings, "client \(spec.client)", "its api has no command or no valid port")
        }
    }

    private func check(_ deployment: Deployment, belongsTo owner: UUID) throws(DeployError) {
        guard deployment.owner == owner else {
            throw DeployError(
                .foreign, deployment.folder, "it belongs to the client uuid \(deployment.owner.uuidString.lowercased())"
            )
        }
    }

    /// Takes or makes the record of this deployment, under a lock, so that two clients never choose the same ports.
    private func intend(_ spec: DeploymentSpec, _ folder: DeploymentFolder) throws -> Deployment {
        do { try FileManager.default.createDirectory(atPath: site.folder, withIntermediateDirectories: true) } catch {
            throw DeployError(.unusable, site.folder, "the site's folder cannot be made")
        }
        let lock = open("\(site.folder)/.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0, flock(lock, LOCK_EX) == 0 else {
            throw DeployError(.unusable, site.folder, "it cannot be locked (\(String(cString: strerror(errno))))")
        }
        defer { close(lock) }
        var deployment: Deployment
        if let found = try folder.read() {
            try check(found, belongsTo: spec.owner)
            deployment = found
        } else {
            let ports = FreePorts.choose(2, at: site.address, besides: takenPorts().union([spec.apiPort]))
            guard ports.count == 2 else { throw DeployError(.unusable, site.address, "it has no free ports left") }
            try PrivateFiles.makeFolder(folder.path)
            deployment = Deployment(
                client: spec.client, owner: spec.owner, epoch: spec.epoch, run: spec.run, site: site.name,
                address: site.address, ports: .init(mongo: ports[0], redis: ports[1], api: spec.apiPort),
                folder: folder.path, apiCommand: spec.apiCommand, secretFiles: folder.secretFiles, phase: .intended)
        }
        guard deployment.address == site.address, deployment.site == site.name else {
            throw DeployError(
                .foreign, folder.record, "it was made for site \(deployment.site) at \(deployment.address)")
        }
        deployment.epoch = spec.epoch
        deployment.run = spec.run
        deployment.apiCommand = spec.apiCommand
        deployment.ports.api = spec.apiPort
        deployment.phase = .intended
        try PrivateFiles.write(json: deployment, to: folder.record)
        return deployment
    }

    private func takenPorts() -> Set<Int> {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: site.folder)) ?? []
        let ports = names.compactMap(ClientID.init).flatMap { client -> [Int] in
            // A neighbour that cannot be read reserves nothing; binding still shows what is in use.
            guard let neighbour = try? folder(of: client).read() else { return [] }
            return [neighbour.ports.mongo, neighbour.ports.redis, neighbour.ports.api]
        }
        return Set(ports)
    }

    // MARK: Services

    private func startDatabases(_ deployment: Deployment, _ folder: DeploymentFolder) async throws {
        try folder.makeSubfolders()
        let passwords = try folder.passwords()
        try folder.writeSecrets(passwords, of: deployment)
        let mongo = try ServiceConfigurations.mongod(
            deployment, keyFile: folder.secret("mongo.key"), cacheMiB: site.mongoCacheMiB)
        try PrivateFiles.write(mongo, to: folder.configuration("mongo"))
        try PrivateFiles.write(
            ServiceConfigurations.redis(deployment, passwords: passwords), to: folder.configuration("redis"))

        try folder.process("mongo").start(
            [site.mongod, "--config", folder.configuration("mongo")], environment: [:], folder: "\(folder.path)/mongo")
        try folder.process("redis").start(
            [site.redisServer, folder.configuration("redis")], environment: [:], folder: "\(folder.path)/redis")
        try await ready("mongo", deployment, folder)
        Failpoint.hit("deploy.mongod")
        try await administrator.initiateReplicaSet(
            host: deployment.address, port: deployment.ports.mongo, name: deployment.client.text)
        Failpoint.hit("deploy.initiated")
        try await administrator.createUsers(
            host: deployment.address, port: deployment.ports.mongo,
            users: [
                DatabaseUser(name: "drp-admin", password: Secret(passwords.mongoForDRP), role: "root"),
                DatabaseUser(name: "drp-app", password: Secret(passwords.mongoForApp), role: "readWriteAnyDatabase"),
            ])
        try await ready("redis", deployment, folder)
    }

    private func startAPI(_ deployment: Deployment, _ folder: DeploymentFolder) async throws {
        let environment = [
            "PORT": "\(deployment.ports.api)", "ADDRESS": deployment.address, "DRP_CLIENT": deployment.client.text,
            "MONGO_URI_FILE": deployment.secretFiles.mongoForApp, "REDIS_URI_FILE": deployment.secretFiles.redisForApp,
        ]
        try folder.process("api").start(
            deployment.apiCommand, environment: environment, folder: "\(folder.path)/api")
        try await ready("api", deployment, folder)
    }

    private func ready(_ service: String, _ deployment: Deployment, _ folder: DeploymentFolder) async throws {
        let process = folder.process(service)
        let end = clock.now.addingTimeInterval(site.startDeadline / .seconds(1))
        while true {
            let answered = try await answers(service, deployment)
            // Looked at after the answer: another program may answer at a port that ours could not get.
            guard process.find() != nil else {
                throw DeployError(.notStarted, "\(deployment.client) \(service)", "it ended; see \(process.logFile)")
            }
            if answered { return }
            guard clock.now < end else {
                throw DeployError(
                    .late, "\(deployment.client) \(service)",
                    "no answer within \(Int(site.startDeadline / .seconds(1))) s; see \(process.logFile)")
            }
            try await clock.sleep(for: .milliseconds(50))
        }
    }

    private func answers(_ service: String, _ deployment: Deployment) async throws -> Bool {
        switch service {
        case "mongo":
            let place = HostPort(host: deployment.address, port: deployment.ports.mongo)
            return try await administrator.mongoAnswers(.init(uri: Secret("mongodb://\(place)/?directConnection=true")))
        case "redis":
            return try await administrator.redisKeyCount(
                .init(uri: try secret(deployment.secretFiles.redisForDRP))) != nil
        default:
            var request = HTTPRequest(url: "http://\(deployment.address):\(deployment.ports.api)/")
            request.deadline = .seconds(5)
            // Any answer will do here: whether it is a good one is for `HTTPCheck` to say.
            do { return try await http.send(request).status > 0 } catch is HTTPError { return false }
        }
    }

    /// Another run may take an old deployment over only if its databases are empty.
    private func refuseData(in deployment: Deployment, _ folder: DeploymentFolder) async throws {
        let wasRunning = folder.process("mongo").find() != nil && folder.process("redis").find() != nil
        try await startDatabases(deployment, folder)
        let inMongo = try await administrator.mongoHoldsData(
            .init(uri: try secret(deployment.secretFiles.mongoForDRP)))
        let inRedis =
            try await administrator.redisKeyCount(
                .init(uri: try secret(deployment.secretFiles.redisForDRP))) ?? 0
        guard inMongo || inRedis > 0 else { return }
        if !wasRunning { try await stop(deployment.client) }
        throw DeployError(
            .notEmpty, folder.path, "the databases hold data of run \(deployment.run) (\(deployment.client))")
    }

    private func secret(_ path: String) throws(DeployError) -> Secret {
        guard let bytes = ProcessTable.contents(of: path, atMost: 64 << 10) else {
            throw DeployError(.unusable, path, "cannot be read")
        }
        return Secret(Array(bytes.prefix { $0 != 0x0a }))
    }

    private func absent(_ client: ClientID) -> DeployError {
        DeployError(.absent, "client \(client)", "it is not deployed at site \(site.name)")
    }
}
