internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation
internal import Logging
internal import ServiceLifecycle
internal import UnixSignals

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run every policy's schedule until told to stop.",
        discussion: """
            Examples:
              drp serve
              drp serve --fleet /etc/drp/fleet.yaml --verbose

            One job a client at a time. A night that was missed is caught up once. SIGTERM or Ctrl-C starts nothing new, lets
            running backups end, and exits. It may also be killed: the next start takes up from the journal.
            """)

    @Option(name: .long, help: ArgumentHelp("How many backups run at once.", valueName: "n"))
    var parallel = 2

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if parallel < 1 { throw ValidationError("--parallel takes 1 or more.") }
    }

    func run() async throws {
        let composition = try await common.composition()
        var logger = composition.logger
        if !common.verbose { logger.logLevel = .info }
        let (quiet, parallel) = (logger, parallel)
        try await composition.journal.holding("serve") { _ in
            try await Self.serve(composition, limit: parallel, quiet)
        }
    }

    private static func serve(_ composition: Composition, limit: Int, _ logger: Logger) async throws {
        let service = SchedulerService(
            entries: composition.fleet.clients.compactMap { client in
                composition.fleet.policy(of: client).map { policy in
                    Scheduler.Entry(
                        client: client.id, kind: "backup", schedule: policy.schedule, priority: client.priority)
                }
            },
            handlers: [
                "backup": BackupHandler(
                    composition: composition, bundles: BundleQueue(composition.bundleShipper), logger: logger)
            ], journal: composition.journal,
            clock: composition.clock, limit: limit, logger: logger)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: Server(backups: composition.backupJob, scheduler: service))],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }
}

/// Takes up what a killed process left, then follows the schedules. Both under the group: from its first step on, SIGTERM is
/// an orderly end.
private struct Server: Service {
    let backups: BackupJob
    let scheduler: SchedulerService

    func run() async throws {
        try await backups.settleAbandoned()
        try await scheduler.run()
    }
}

/// Backs one client up when the schedule says so.
private struct BackupHandler: JobHandler {
    let composition: Composition
    let bundles: BundleQueue
    let logger: Logger

    func run(_ job: Job) async throws {
        let client = try composition.client(job.client)
        let site = try await composition.journal.placement(of: client.id)?.site ?? client.site
        if try await composition.journal.declaration(of: site) != nil {
            logger.notice(
                "no backup: its site is declared lost", metadata: ["client": "\(client.id)", "site": "\(site)"])
            return
        }
        let outcome: Result<[StoredBackup], any Error>
        do { outcome = .success(try await composition.backupJob.run(client)) } catch { outcome = .failure(error) }
        for line in await bundles.ship().flatMap(Composition.lines) {
            logger.warning("bootstrap bundle", metadata: ["detail": "\(line)"])
        }
        // One store that took it is a backup; the others are named in the journal, and the job counts as failed.
        for result in try outcome.get() { _ = try result.outcome.get() }
    }
}
