import Foundation
import Logging
import Synchronization
import Testing

@testable import DRPKit

/// Runs jobs at once; after a number of them, says so.
private final class CountingHandler: JobHandler {
    struct Broken: Error {}
    private let jobs = Mutex<[Job]>([])
    private let fails: Bool

    init(fails: Bool = false) { self.fails = fails }
    var dues: [Date] { jobs.withLock { $0.map(\.due) } }

    func run(_ job: Job) async throws {
        jobs.withLock { $0.append(job) }
        if fails { throw Broken() }
    }
}

/// Goes on by what is slept, and ends the test when the time is over.
private final class RunningClock: WallClock {
    private let time: Mutex<Date>
    private let end: Date

    init(from start: Date, seconds: TimeInterval) {
        time = Mutex(start)
        end = start.addingTimeInterval(seconds)
    }

    var now: Date { time.withLock { $0 } }

    func sleep(for duration: Duration) async throws {
        // A deadline of hours is not waited for: it would take the clock with it.
        guard duration < .seconds(3600) else {
            for await _ in AsyncStream<Never>.makeStream().stream {}
            throw CancellationError()
        }
        await Task.yield()
        let isOver = time.withLock {
            $0 += 60
            return $0 > end
        }
        if isOver { throw CancellationError() }
    }
}

@Suite struct SchedulerServiceTests {
    private let start = Date(timeIntervalSince1970: 1_780_272_000)

    private func run(_ handler: CountingHandler, on journal: Journal, from: Date, days: Double) async throws {
        let entry = Scheduler.Entry(
            client: acme, kind: "backup", schedule: try Schedule("daily 02:30"), timeLimit: .seconds(7200))
        let service = SchedulerService(
            entries: [entry], handlers: ["backup": handler], journal: journal,
            clock: RunningClock(from: from, seconds: days * 86_400), limit: 2,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        await #expect(throws: CancellationError.self) { try await service.run() }
    }

    private func night(_ day: Int) -> Date { start.addingTimeInterval(Double(day) * 86_400 + 9000) }

    @Test("each night has one run, a restart repeats none, a missed one is caught up, and all are on record")
    func nights() async throws {
        try await withJournal { journal, _, _ in
            let handler = CountingHandler()
            try await run(handler, on: journal, from: start, days: 2.5)
            #expect(handler.dues == [night(-1), night(0), night(1), night(2)])
            try await run(handler, on: journal, from: night(2).addingTimeInterval(3600), days: 0.1)
            #expect(handler.dues.count == 4)
            try await run(handler, on: journal, from: night(5).addingTimeInterval(3600), days: 0.1)
            #expect(handler.dues.suffix(1) == [night(5)] && handler.dues.count == 5)
            let jobs = try await journal.jobs(client: acme)
            #expect(jobs.map(\.due) == handler.dues.reversed() && jobs.allSatisfy { $0.outcome == .ok })
        }
    }

    @Test("a job that fails is on record, and is not tried again before the next night")
    func failures() async throws {
        try await withJournal { journal, _, _ in
            let handler = CountingHandler(fails: true)
            try await run(handler, on: journal, from: start.addingTimeInterval(12 * 3600), days: 0.4)
            #expect(handler.dues == [night(0)])
            #expect(try await journal.jobs(client: acme).map(\.outcome) == [.failed])
        }
    }

    @Test("after a clock that was years ahead is set right, one run starts at once and each night has its own again")
    func clockSetBack() async throws {
        try await withJournal { journal, _, _ in
            let handler = CountingHandler()
            try await run(handler, on: journal, from: night(1500).addingTimeInterval(60), days: 0.1)
            #expect(handler.dues == [night(1500)])
            try await run(handler, on: journal, from: night(0).addingTimeInterval(60), days: 2)
            #expect(handler.dues == [night(1500), night(0), night(1), night(2)])
        }
    }
}
