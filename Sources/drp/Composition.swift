internal import Backup
internal import DRPKit
internal import Foundation
internal import Glibc
internal import Logging
internal import Migrate
internal import Synchronization

/// The one place that names every implementation: what a command works with, made from the fleet file.
struct Composition: Sendable {
    static let defaultFleetFiles = ["fleet.yaml", "/etc/drp/fleet.yaml"]

    let fleetFile: String
    let fleet: Fleet
    let warnings: [Problem]
    let journal: Journal
    let clock: any WallClock
    let resolver: SecretResolver
    /// Closed by `DRP.main`, with all others.
    let ssh: SSHTransport
    let identity: RecoveryIdentity?
    let logger: Logger
    let progress: @Sendable (ServiceProgress) -> Void
    /// Backups are read as the stores held them then; nil for now.
    let repositoryAt: Date?

    static func make(
        fleetFile: String?, identityFile: String?, isVerbose: Bool, repositoryAt: Date? = nil,
        progress: @escaping @Sendable (ServiceProgress) -> Void
    ) async throws -> Composition {
        let path = try Self.fleetFile(fleetFile)
        let (read, problems) = try FleetReader.read(path)
        guard let fleet = read else { throw FleetError(reason: .invalid(problems), path: path) }
        let clock = SystemClock()
        var logger = Logger(label: "drp") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = isVerbose ? .debug : .notice
        // The identity first: a wrong one must not leave a state folder behind.
        let identity = try identityFile.map { path throws(IdentityError) in try RecoveryIdentity.read(path) }
        let ssh = SSHTransport(
            sites: fleet.sites.compactMap(SSHSite.init), audit: SSHAudit(state: fleet.state, clock: clock), clock: clock
        )
        transports.withLock { $0.append(ssh) }
        return Composition(
            fleetFile: path, fleet: fleet, warnings: problems,
            journal: try await Journal.open(folder: fleet.state, clock: clock), clock: clock,
            resolver: SecretResolver(), ssh: ssh, identity: identity, logger: logger, progress: progress,
            repositoryAt: repositoryAt)
    }

    private static let transports = Mutex<[SSHTransport]>([])

    /// Ends the connections of all compositions of this process, and deletes their keys.
    static func close() async {
        for transport in transports.withLock({ $0 }) { await transport.close() }
    }

    /// How databases inside the sites are reached.
    var reach: SiteReach { ssh.reach }

    /// - Throws: `fleetMissing` if there is none.
    static func fleetFile(_ given: String?) throws -> String {
        let candidates = given.map { [$0] } ?? defaultFleetFiles
        if let found = candidates.first(where: { FileManager.default.fileExists(atPath: $0) }) { return found }
        throw UsageError(
            "there is no fleet file at \(candidates.joined(separator: " or "))", advice: ErrorCode.fleetMissing.advice,
            code: .fleetMissing)
    }

    static let openStore: StoreOpener = { settings in stores.open(settings) }

    /// Makes stores to read backups from: as they were at `repositoryAt`, where a command asks for it.
    var openToRead: StoreOpener {
        guard let repositoryAt else { return Self.openStore }
        return { try await Self.openStore($0).view(at: repositoryAt) }
    }

    private static let stores = OpenStores(clock: SystemClock(), resolver: SecretResolver())

    var backupJob: BackupJob {
        BackupJob(fleet: fleet, journal: journal, clock: clock, resolver: resolver, reach: reach, open: Self.openStore)
    }

    var watch: StoreWatch { StoreWatch(journal: journal, clock: clock) }

    var clientKeys: ClientKeys { ClientKeys(fleet: fleet, journal: journal, clock: clock, open: Self.openStore) }

    var catalogRebuild: CatalogRebuild {
        CatalogRebuild(fleet: fleet, journal: journal, open: Self.openStore)
    }

    /// - Parameter say: is called with what runs do, step by step.
    func engine(_ say: @escaping @Sendable (RunProgress) -> Void) async throws -> RunEngine {
        RunEngine(journal: journal, catalog: try await stepWorld().catalog, clock: clock, progress: say)
    }

    func stepWorld() async throws -> StepWorld {
        StepWorld(
            fleet: fleet, journal: journal, clock: clock, resolver: resolver, reach: reach, ssh: ssh,
            identity: identity, store: Self.openStore,
            capture: { [backupJob, progress] in
                try await backupJob.run($0, holding: $1, progress: progress)
            }, runner: CommandRunner(),
            deployer: { try deployer($0, $1) },
            traffic: try await traffic(), http: CurlClient(), logger: logger, progress: progress)
    }

    private func deployer(_ site: Site, _ mode: RunMode) throws -> any Deployer {
        if let docker = site.docker {
            return containers(docker, site, isDrill: mode == .drill)
        }
        guard site.isLocal, let folder = site.folder, let frontend = site.frontends.first else {
            throw UsageError(
                "site \(site.name) cannot be deployed to by this version",
                advice: "Give it `docker:`, or `provider: local` and a `folder:`, and frontends.", code: .fleetInvalid)
        }
        let place = mode == .drill ? "\(folder)/drills" : folder
        var local = LocalProcessSite(name: site.name, folder: place, address: site.address ?? frontend.address)
        if let program = site.programs["mongod"] { local.mongod = program }
        if let program = site.programs["redis-server"] { local.redisServer = program }
        return LocalProcessDeployer(
            local, administrator: ServerAdministrator(clock: clock), http: CurlClient(), clock: clock)
    }

    private func containers(_ docker: Site.Docker, _ site: Site, isDrill: Bool) -> any Deployer {
        let images = DockerSite.Images(mongo: docker.mongo, redis: docker.redis, edge: docker.edge)
        var settings = DockerSite(
            name: site.name, folder: "\(fleet.state)/\(isDrill ? "drills" : "sites")/\(site.name)",
            addresses: site.frontends.map(\.address),
            images: images)
        settings.isDrill = isDrill
        if let subnets = docker.subnets.flatMap(Subnet.init) { settings.subnets = subnets }
        let http = CurlClient()
        let engine = DockerEngine(http: http) { [ssh] in
            guard ssh.leads(to: site.name) else { return docker.socket }
            return try await ssh.host(site.name).forward(to: .unix(docker.socket))
        }
        return DockerDeployer(
            settings, engine: engine, way: reach.way(into: site.name),
            administrator: ServerAdministrator(clock: clock), http: http, clock: clock, host: hostCommand(site))
    }

    /// At the site's host, as root or by sudo without a password.
    private func hostCommand(_ site: Site) -> HostCommand {
        let isRoot = site.bastion == nil ? getuid() == 0 : (site.hosts.first?.user ?? site.bastion?.user) == "root"
        let prefix = isRoot ? [] : ["/usr/bin/sudo", "-n"]
        return { [ssh] command in
            guard ssh.leads(to: site.name) else {
                return try await CommandRunner().run(prefix + command, deadline: .seconds(30))
            }
            return try await ssh.host(site.name).run(prefix + command, deadline: .seconds(30))
        }
    }

    /// nil if the fleet file has no `traffic`.
    func traffic() async throws -> TrafficZone? {
        guard let settings = fleet.traffic else { return nil }
        func servers(_ list: [HostPort]) -> [DNSServer] { list.map { DNSServer(host: $0.host, port: $0.port) } }
        return TrafficZone(
            records: try await records(settings.dns),
            authorities: AuthorityCheck(servers(settings.dns.authorities), clock: clock),
            resolvers: ResolverCheck(servers(settings.resolvers), clock: clock), ttl: settings.ttl)
    }

    /// nil for a site whose frontends are no HAProxies that can be led.
    func frontends(_ site: Site) -> Frontends? { Frontends(of: site, way: reach.way(into: site.name), clock: clock) }

    private func records(_ dns: TrafficSettings.DNS) async throws -> any TrafficSwitch {
        switch dns {
        case .rfc2136(let settings):
            let key = try await resolver.resolve(settings.key)
            return RFC2136Switch(
                try RFC2136Switch.Settings(server: "\(settings.server)", zone: settings.zone, key: key), clock: clock)
        case .powerdns(let settings):
            let key = try await resolver.resolve(settings.key)
            return PowerDNSSwitch(
                try PowerDNSSwitch.Settings(
                    url: settings.url, server: settings.server, zone: settings.zone, key: key, caFile: settings.ca),
                http: CurlClient(), clock: clock)
        case .route53(let settings):
            let names = try Route53Switch.Settings(
                endpoint: settings.endpoint, hostedZone: settings.hostedZone, zone: settings.zone, caFile: settings.ca)
            return Route53Switch(names, http: CurlClient(), clock: clock) { [resolver] in
                try await resolver.aws(access: settings.access, secret: settings.secret, token: settings.token)
            }
        }
    }

    var runbooks: RunbookLibrary { RunbookLibrary.standard(binary: CommandLine.arguments.first ?? "drp") }
}
