package import Backup
package import DRPKit
internal import Foundation
package import Logging

/// What the steps act through; made once for a command, in its composition.
package struct StepWorld: Sendable {
    package var fleet: Fleet
    package var journal: Journal
    package var clock: any WallClock
    package var resolver: SecretResolver
    /// How databases are reached.
    package var reach: SiteReach
    /// The ways into sites with a bastion, for programs that drp starts; nil in commands that only look.
    package var ssh: SSHTransport?
    /// Opens backups; nil in commands that only look.
    package var identity: RecoveryIdentity?
    package var store: StoreOpener
    /// Backs a client up whose lease the run holds.
    package var capture: @Sendable (Client, LeaseEntry) async throws -> [StoredBackup]
    package var runner: CommandRunner
    /// What a drill deploys lies beside production: no name, folder or port is shared.
    package var deployer: @Sendable (Site, RunMode) throws -> any Deployer
    /// nil if the fleet file has no `traffic`.
    package var traffic: TrafficZone?
    package var http: any HTTPClient
    package var logger: Logger
    package var progress: @Sendable (ServiceProgress) -> Void

    package init(
        fleet: Fleet, journal: Journal, clock: any WallClock, resolver: SecretResolver,
        reach: SiteReach = .direct, ssh: SSHTransport? = nil, identity: RecoveryIdentity?, store: @escaping StoreOpener,
        capture: @escaping @Sendable (Client, LeaseEntry) async throws -> [StoredBackup], runner: CommandRunner,
        deployer: @escaping @Sendable (Site, RunMode) throws -> any Deployer, traffic: TrafficZone?,
        http: any HTTPClient,
        logger: Logger, progress: @escaping @Sendable (ServiceProgress) -> Void
    ) {
        self.fleet = fleet
        self.journal = journal
        self.clock = clock
        self.resolver = resolver
        self.reach = reach
        self.ssh = ssh
        self.identity = identity
        self.store = store
        self.capture = capture
        self.runner = runner
        self.deployer = deployer
        self.traffic = traffic
        self.http = http
        self.logger = logger
        self.progress = progress
    }

    /// The steps of this version.
    package var catalog: StepCatalog {
        var catalog = StepCatalog()
        catalog.add { AnsibleStep(world: self) }
        catalog.add { ApproveStep(world: self) }
        catalog.add { CatchUpStep(world: self) }
        catalog.add { CommandStep(world: self) }
        catalog.add { DestroyStep(world: self) }
        catalog.add { FenceStep(world: self) }
        catalog.add { FreezeStep(world: self) }
        catalog.add { WaitStep(world: self) }
        catalog.add { PreflightStep(world: self) }
        catalog.add { ProtectStep(world: self) }
        catalog.add { DeployStep(world: self) }
        catalog.add { RestoreStep(world: self) }
        catalog.add { VerifyStep(world: self) }
        catalog.add { SwitchStep(world: self) }
        catalog.add { ProbeStep(world: self) }
        catalog.add { NotifyStep(world: self) }
        return catalog
    }
}

// MARK: - What several steps ask

extension StepWorld {
    func client(_ context: StepContext) throws -> Client {
        guard let client = fleet.client(context.client) else {
            throw StepError(context, .settings, "the fleet file has no client \(context.client)")
        }
        return client
    }

    func targetSite(_ context: StepContext) throws -> Site {
        let text = context.inputs["target"] ?? ""
        guard let name = SiteName(text), let site = fleet.site(name) else {
            throw StepError(context, .settings, "the fleet file has no site '\(text)'")
        }
        guard !site.frontends.isEmpty else {
            throw StepError(context, .settings, "site \(name) has no frontends, so traffic cannot be sent there")
        }
        return site
    }

    func place(_ client: Client) async throws -> ClientPlace {
        try ClientPlace(client, placement: try await journal.placement(of: client.id))
    }

    func writerKeys(_ client: Client) throws -> WriterKeys {
        try WriterKeys.read(of: client.id, state: fleet.state)
    }

    /// Finds a backup in the stores of the client's policy, the one at the target first; for `latest`, the newest of all
    /// stores that answer.
    /// - Parameter at: `latest` or a backup's number.
    func backup(_ context: StepContext, _ client: Client, at: String) async throws -> FoundBackup {
        guard at == "latest" || Int(at) != nil else {
            throw StepError(context, .settings, "'\(at)' is neither latest nor a backup's number")
        }
        return try await BackupFinder(fleet: fleet, open: store).find(
            client, Int(at), keys: try writerKeys(client), near: context.inputs["target"].flatMap { SiteName($0) })
    }

    /// What steps find that have nothing to do at a source that is gone.
    static let sourceLost: StepOutcome = ["sourceAlive": false]

    /// What preflight found.
    func isSourceAlive(_ context: StepContext) throws -> Bool {
        guard let isAlive = context.outcomes["preflight"]?["sourceAlive"]?.boolean else {
            throw StepError(context, .order, "it needs the outcome of a step 'preflight' before it")
        }
        return isAlive
    }

    /// Where the client lived when the run began.
    func sourceSite(_ context: StepContext) throws -> Site {
        let text = context.outcomes["preflight"]?.text("source") ?? context.inputs["source"] ?? ""
        guard let name = SiteName(text), let site = fleet.site(name) else {
            throw StepError(context, .settings, "the fleet file has no site '\(text)'")
        }
        return site
    }

    /// Of the place where the client lived when the run began, also after a switch.
    func sourceDatabases(_ context: StepContext) async throws -> ClientDatabases {
        let client = try client(context)
        let placement = try await journal.placement(of: client.id, before: context.run)
        let place = try ClientPlace(client, placement: placement)
        var databases = try await ClientDatabases(
            place.services, side: .source, resolver: resolver, way: reach.way(into: place.site, host: place.host))
        databases.mongo?.selectionTimeout = .seconds(5)
        databases.mongo?.connectTimeout = .seconds(5)
        return databases
    }

    func sourceBlock(_ context: StepContext) async throws -> WriteBlock {
        WriteBlock(try await sourceDatabases(context))
    }

    /// The reader of the backup whose state the target has.
    func restored(_ context: StepContext, _ client: Client) async throws -> (FoundBackup, any ChunkSource) {
        let newest = context.outcomes["catch-up"]?.integer("backup")
        guard let number = newest ?? context.outcomes["restore"]?.integer("backup") else {
            throw StepError(context, .order, "it needs the outcome of a step 'restore' before it")
        }
        let found = try await backup(context, client, at: "\(number)")
        return (found, try await reader(context, found))
    }

    /// - Returns: what reads from the nearest store, and where that fails from the others.
    func reader(_ context: StepContext, _ backup: FoundBackup) async throws -> any ChunkSource {
        guard let identity else {
            throw StepError(context, .identity, "opening a backup needs a recovery identity")
        }
        let (client, run, step, number) = (context.client, context.run, context.step, backup.manifest.number)
        return try await backup.source(identity) { [journal, logger, say = context.progress] event in
            say("store \(event.store) does not give all of backup \(number): \(event.reason)")
            logger.warning(
                "reading from another store", metadata: ["store": "\(event.store)", "reason": "\(event.reason)"])
            // A journal that cannot be written must not end a restore that goes on.
            try? await journal.append(
                event: "restore.fellover", client: client, run: run, step: step,
                payload: event.payload(backup: number))
        }
    }

    func deployment(_ context: StepContext) throws -> Deployment {
        guard let json = context.outcomes["deploy"]?["deployment"] else {
            throw StepError(context, .order, "it needs the outcome of a step 'deploy' before it")
        }
        return try json.decode(Deployment.self)
    }

    /// The databases of a deployment, as drp itself reaches them.
    func databases(_ deployment: Deployment) async throws -> ClientDatabases {
        let services = Services(
            api: nil, mongo: Services.Mongo(uri: .file(path: deployment.secretFiles.mongoForDRP), ca: nil),
            redis: Services.Redis(uri: .file(path: deployment.secretFiles.redisForDRP), ca: nil, role: .store))
        return try await ClientDatabases(
            services, side: .target, resolver: resolver, way: reach.way(into: deployment.site))
    }

    /// nil for a site whose frontends are no HAProxies that can be led.
    func frontends(_ site: Site) -> Frontends? { Frontends(of: site, way: reach.way(into: site.name), clock: clock) }

    func requireTraffic(_ context: StepContext) throws -> TrafficZone {
        guard let traffic else {
            throw StepError(context, .settings, "the fleet file has no `traffic`, so records cannot be changed")
        }
        return traffic
    }
}

/// A step that cannot do its work as it was asked.
package struct StepError: DRPError, Equatable {
    package enum Reason: Sendable, Equatable {
        /// The fleet file or the runbook lacks something.
        case settings
        /// A step that must come before is not in the runbook.
        case order
        case identity
        /// A person has to agree first.
        case approval
        /// The target's place or the client's records are not as they must be.
        case refused
    }

    package var reason: Reason
    package var step: String
    package var text: String

    init(_ context: StepContext, _ reason: Reason, _ text: String) {
        self.reason = reason
        step = context.step
        self.text = text
    }

    package var code: ErrorCode {
        switch reason {
        case .settings: .fleetInvalid
        case .order: .runbookInvalid
        case .identity: .identityInvalid
        case .approval: .waitsForApproval
        case .refused: .stepFailed
        }
    }

    package var message: String { "step \(step): \(text)" }
}

extension Step {
    /// For steps that leave no trace in the world: what `apply` found in this run counts.
    func seen(_ context: StepContext) -> Observation { context.applied.map { .done($0) } ?? .notDone }
}
