internal import Foundation
package import Logging
internal import ServiceLifecycle

/// Carries out one kind of job.
package protocol JobHandler: Sendable {
    func run(_ job: Job) async throws
}

/// Starts what `Scheduler` decides, and keeps in the journal what was started and how it ended.
///
/// The clock is asked about every second of real time, whatever the schedule says: so a clock that was set, or a machine that
/// slept, is noticed at once. On graceful shutdown nothing new starts and running jobs end.
package actor SchedulerService: Service {
    private static let pause = Duration.seconds(1)

    private let entries: [Scheduler.Entry]
    private let handlers: [String: any JobHandler]
    private let journal: Journal
    private let clock: any WallClock
    private let limit: Int
    private let logger: Logger
    private var running: Set<ClientID> = []
    /// What was said last about a client, so that it is said once.
    private var told: [ClientID: String] = [:]

    package init(
        entries: [Scheduler.Entry], handlers: [String: any JobHandler], journal: Journal, clock: any WallClock,
        limit: Int,
        logger: Logger
    ) {
        self.entries = entries
        self.handlers = handlers
        self.journal = journal
        self.clock = clock
        self.limit = limit
        self.logger = logger
    }

    package func run() async throws {
        logger.info("scheduler started", metadata: ["entries": "\(entries.count)"])
        try await withThrowingDiscardingTaskGroup { group in
            while !Task.isShuttingDownGracefully, !Task.isCancelled {
                for job in try await due() { start(job, in: &group) }
                try await clock.sleep(for: Self.pause)
            }
            if !running.isEmpty { logger.info("waiting for running jobs", metadata: ["jobs": "\(running.count)"]) }
        }
        logger.info("scheduler stopped")
    }

    private func due() async throws -> [Job] {
        // Before the journal is read: a job that ends meanwhile would look as if it had died, and start again.
        let running = running
        let lastRuns = try await lastRuns()
        let decision = Scheduler.decide(
            now: clock.now, entries: entries, lastRuns: lastRuns, running: running, limit: limit)
        for late in decision.late {
            tell(late.client, "job is late", "\(late.kind) due \(late.due), \(late.reason.rawValue)")
        }
        for client in decision.clockWentBack {
            tell(client, "the clock was set back", "the last run lies in the future")
        }
        return decision.start
    }

    private func lastRuns() async throws -> [Scheduler.Key: Scheduler.LastRun] {
        var runs: [Scheduler.Key: Scheduler.LastRun] = [:]
        for last in try await journal.lastJobs() {
            var attempts = 1
            if last.finished == nil {
                let recent = try await journal.jobs(client: last.client, limit: 2 * Scheduler.maximumAttempts)
                attempts = recent.count { $0.kind == last.kind && $0.due == last.due }
            }
            runs[Scheduler.Key(client: last.client, kind: last.kind)] = Scheduler.LastRun(
                due: last.due, isFinished: last.finished != nil, attempts: attempts)
        }
        return runs
    }

    private func tell(_ client: ClientID, _ what: Logger.Message, _ detail: String) {
        guard told[client] != detail else { return }
        told[client] = detail
        logger.warning(what, metadata: ["client": "\(client)", "detail": "\(detail)"])
    }

    private func start(_ job: Job, in group: inout ThrowingDiscardingTaskGroup<any Error>) {
        guard let handler = handlers[job.kind] else { preconditionFailure("no handler for jobs of kind \(job.kind)") }
        running.insert(job.client)
        told[job.client] = nil
        group.addTask { try await self.carryOut(job, handler) }
    }

    /// - Throws: only if the journal cannot be written: without it nothing may go on.
    private func carryOut(_ job: Job, _ handler: any JobHandler) async throws {
        let metadata: Logger.Metadata = [
            "client": "\(job.client)", "kind": "\(job.kind)", "due": "\(JournalDate.text(job.due))",
        ]
        let id = try await journal.beginJob(client: job.client, kind: job.kind, due: job.due)
        logger.info("job started", metadata: metadata)
        do {
            try await within(job.deadline.timeIntervalSince(clock.now)) { try await handler.run(job) }
            try await journal.finishJob(id)
            logger.info("job finished", metadata: metadata)
        } catch {
            try await journal.finishJob(id, error: error)
            logger.error("job failed", metadata: metadata.merging(["error": "\(error)"]) { $1 })
        }
        running.remove(job.client)
    }

    private func within(_ seconds: Double, _ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await body()
                return true
            }
            group.addTask { [clock] in
                try await clock.sleep(for: .seconds(max(1, seconds)))
                return false
            }
            let isDone = try await group.next()
            group.cancelAll()
            if isDone == false { throw JobError(text: "the job did not end by its deadline") }
        }
    }
}

/// A job that could not be carried out as it should.
struct JobError: DRPError {
    var text: String
    var code: ErrorCode { .deadlineExceeded }
    var message: String { text }
}
