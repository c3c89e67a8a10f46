import Foundation
import TestSupport
import Testing

@testable import DRPKit

/// Minutes after 2026-06-01T00:00Z.
private func at(day: Int = 0, _ hour: Int, _ minute: Int = 0) -> Date {
    Date(timeIntervalSince1970: 1_780_272_000 + Double(day * 86_400 + hour * 3600 + minute * 60))
}

private func entry(
    _ client: String = "acme", _ schedule: String = "daily 02:30", priority: Int = 100, since: Date? = nil
) throws -> Scheduler.Entry {
    Scheduler.Entry(
        client: ClientID(unchecked: client), kind: "backup", schedule: try Schedule(schedule), priority: priority,
        timeLimit: .seconds(3600), since: since)
}

private func key(_ client: String = "acme") -> Scheduler.Key {
    Scheduler.Key(client: ClientID(unchecked: client), kind: "backup")
}

private func clients(_ names: String...) -> Set<ClientID> { Set(names.map { ClientID(unchecked: $0) }) }

@Suite struct SchedulerTests {
    @Test("nothing starts before its time, and it starts once at its time")
    func startsOnTime() throws {
        let last = Scheduler.LastRun(due: at(2, 30), isFinished: true)
        func decide(_ now: Date, _ last: Scheduler.LastRun) throws -> Scheduler.Decision {
            Scheduler.decide(now: now, entries: [try entry()], lastRuns: [key(): last], running: [])
        }
        let before = try decide(at(day: 1, 2, 29), last)
        #expect(before.start == [] && before.late == [] && before.nextWake == at(day: 1, 2, 30))
        let now = try decide(at(day: 1, 2, 30), last)
        #expect(
            now.start == [
                Job(
                    client: ClientID(unchecked: "acme"), kind: "backup", due: at(day: 1, 2, 30),
                    deadline: at(day: 1, 3, 30))
            ])
        #expect(now.nextWake == at(day: 2, 2, 30))
        // Failed or not, a run that ended is not started again for the same time.
        #expect(try decide(at(day: 1, 2, 31), Scheduler.LastRun(due: at(day: 1, 2, 30), isFinished: true)).start == [])
    }

    @Test("three missed nights are caught up once, for the last of them")
    func catchesUpOnce() throws {
        let last = Scheduler.LastRun(due: at(2, 30), isFinished: true)
        let decision = Scheduler.decide(
            now: at(day: 3, 9), entries: [try entry()], lastRuns: [key(): last], running: [])
        #expect(decision.start.map(\.due) == [at(day: 3, 2, 30)])
        #expect(decision.nextWake == at(day: 4, 2, 30))
        let after = Scheduler.decide(
            now: at(day: 3, 10), entries: [try entry()],
            lastRuns: [key(): Scheduler.LastRun(due: at(day: 3, 2, 30), isFinished: true)], running: [])
        #expect(after.start == [])
    }

    @Test("a client that was never backed up is at once, unless it is to wait for its first time")
    func startsNewClients() throws {
        func due(_ since: Date?) throws -> [Date] {
            Scheduler.decide(now: at(12), entries: [try entry(since: since)], lastRuns: [:], running: []).start.map(
                \.due)
        }
        #expect(try due(nil) == [at(2, 30)])
        #expect(try due(at(3)) == [])
        #expect(try due(at(2)) == [at(2, 30)])
    }

    @Test("a run that lasts into the next time is not joined by a second; the next starts when it has ended")
    func neverOverlaps() throws {
        let long = Scheduler.LastRun(due: at(1), isFinished: false)
        let during = Scheduler.decide(
            now: at(3, 30), entries: [try entry("acme", "0 * * * *")], lastRuns: [key(): long], running: clients("acme")
        )
        #expect(during.start == [])
        #expect(during.late.map(\.reason) == [.clientBusy] && during.late.map(\.due) == [at(3)])
        let after = Scheduler.decide(
            now: at(3, 31), entries: [try entry("acme", "0 * * * *")],
            lastRuns: [key(): Scheduler.LastRun(due: at(1), isFinished: true)], running: [])
        #expect(after.start.map(\.due) == [at(3)])
        // While it runs for the newest time, nothing is late.
        let quiet = Scheduler.decide(
            now: at(3, 32), entries: [try entry("acme", "0 * * * *")],
            lastRuns: [key(): Scheduler.LastRun(due: at(3), isFinished: false)], running: clients("acme"))
        #expect(quiet.start == [] && quiet.late == [])
    }

    @Test("two jobs of one client never run at once, whatever their kinds")
    func oneJobAClient() throws {
        var drill = try entry()
        drill.kind = "drill"
        let decision = Scheduler.decide(
            now: at(12), entries: [drill, try entry()], lastRuns: [:], running: [], limit: 5)
        #expect(decision.start.map(\.kind) == ["backup"])
        #expect(decision.late.map(\.kind) == ["drill"] && decision.late.map(\.reason) == [.clientBusy])
    }

    @Test("after a crash a run starts again for its own time, three times in all; the next night starts as usual")
    func triesAgain() throws {
        func decide(_ now: Date, _ attempts: Int) throws -> Scheduler.Decision {
            let died = Scheduler.LastRun(due: at(2, 30), isFinished: false, attempts: attempts)
            return Scheduler.decide(now: now, entries: [try entry()], lastRuns: [key(): died], running: [])
        }
        #expect(try decide(at(4), 1).start.map(\.due) == [at(2, 30)])
        #expect(try decide(at(4), 2).start.map(\.due) == [at(2, 30)])
        let last = try decide(at(4), 3)
        #expect(last.start == [] && last.late.map(\.reason) == [.gaveUp] && last.late.map(\.due) == [at(2, 30)])
        #expect(try decide(at(day: 1, 2, 30), 3).start.map(\.due) == [at(day: 1, 2, 30)])
    }

    @Test("a clock that is set back by hours starts nothing again, one set back by years does not stop the backups")
    func clockSetBack() throws {
        func decide(_ now: Date, last due: Date) throws -> Scheduler.Decision {
            Scheduler.decide(
                now: now, entries: [try entry()], lastRuns: [key(): Scheduler.LastRun(due: due, isFinished: true)],
                running: [])
        }
        let hours = try decide(at(day: 1, 1), last: at(day: 1, 2, 30))
        #expect(hours.start == [] && hours.clockWentBack == [] && hours.nextWake == at(day: 2, 2, 30))
        let years = try decide(at(12), last: at(day: 1500, 2, 30))
        #expect(years.clockWentBack == [ClientID(unchecked: "acme")])
        #expect(years.start.map(\.due) == [at(2, 30)] && years.nextWake == at(day: 1, 2, 30))
        // That run is the last one from then on.
        let after = try decide(at(13), last: at(2, 30))
        #expect(after.start == [] && after.clockWentBack == [])
        #expect(try decide(at(day: 1, 2, 30), last: at(2, 30)).start.map(\.due) == [at(day: 1, 2, 30)])
    }

    @Test("what is due at once starts by priority, then by how long it waits, as many as there is room for")
    func ordersByPriority() throws {
        let entries = [
            try entry("late", priority: 9), try entry("beta", priority: 1), try entry("alpha", priority: 1),
            try entry("early", "daily 02:00", priority: 1), try entry("first", priority: 0),
        ]
        let all = Scheduler.decide(now: at(12), entries: entries, lastRuns: [:], running: [], limit: 9)
        #expect(all.start.map(\.client.text) == ["first", "early", "alpha", "beta", "late"])
        let some = Scheduler.decide(now: at(12), entries: entries, lastRuns: [:], running: [], limit: 2)
        #expect(some.start.map(\.client.text) == ["first", "early"])
        #expect(some.late.map(\.client.text) == ["alpha", "beta", "late"])
        #expect(some.late.allSatisfy { $0.reason == .noRoom })
        // What runs already takes room, also for clients that are no longer in the file.
        let full = Scheduler.decide(
            now: at(12), entries: entries, lastRuns: [:], running: clients("gone", "first"), limit: 3)
        #expect(full.start.map(\.client.text) == ["early"])
        #expect(full.late.map(\.reason) == [.clientBusy, .noRoom, .noRoom, .noRoom])
        #expect(Scheduler.decide(now: at(12), entries: [], lastRuns: [:], running: []).nextWake == nil)
    }

    /// What the journal would know: the run that was started last, with its attempts.
    private struct World {
        var now = at(0)
        var last: [Scheduler.Key: Scheduler.LastRun] = [:]
        var running: Set<ClientID> = []
        /// Starts for each client and time.
        var starts: [ClientID: [Date: Int]] = [:]

        mutating func begin(_ job: Job) {
            let key = Scheduler.Key(client: job.client, kind: job.kind)
            let again = last[key]?.due == job.due ? (last[key]?.attempts ?? 0) : 0
            last[key] = Scheduler.LastRun(due: job.due, isFinished: false, attempts: again + 1)
            starts[job.client, default: [:]][job.due, default: 0] += 1
            running.insert(job.client)
        }

        mutating func end(_ client: ClientID) {
            for key in last.keys where key.client == client { last[key]?.isFinished = true }
            running.remove(client)
        }
    }

    @Test(
        "through seeded weeks of restarts, sleeps and crashes, no time runs twice that ended, and every night has its run"
    )
    func survivesWeeks() throws {
        for seed in UInt64(1)...4 {
            var random = SeededGenerator(seed: seed)
            let names = ["a", "b", "c", "d"]
            let entries = try names.map { try entry($0, $0 == "d" ? "0 */6 * * *" : "daily 02:30 Europe/Paris") }
            var world = World()
            var crashes = 0
            var ended: [ClientID: Set<Date>] = [:]
            while world.now < at(day: 28, 0) {
                // The machine sleeps for up to two days now and then.
                let sleeps = Int.random(in: 0..<100, using: &random) == 0
                let minutes = Int.random(in: 1...(sleeps ? 2880 : 60), using: &random)
                world.now.addTimeInterval(Double(minutes * 60))
                let decision = Scheduler.decide(
                    now: world.now, entries: entries, lastRuns: world.last, running: world.running, limit: 2)
                for job in decision.start {
                    #expect(!world.running.contains(job.client), "seed \(seed)")
                    #expect(job.due <= world.now && job.deadline > world.now, "seed \(seed)")
                    #expect(ended[job.client]?.contains(job.due) != true, "seed \(seed)")
                    world.begin(job)
                }
                #expect(world.running.count <= 2, "seed \(seed)")
                #expect(decision.nextWake.map { $0 > world.now } == true, "seed \(seed)")
                for client in world.running.sorted() where Int.random(in: 0..<3, using: &random) == 0 {
                    ended[client, default: []].insert(world.last[Scheduler.Key(client: client, kind: "backup")]!.due)
                    world.end(client)
                }
                // drp dies and starts again: what ran is neither finished nor running.
                if Int.random(in: 0..<60, using: &random) == 0 {
                    crashes += world.running.count
                    world.running = []
                }
            }
            for (client, dues) in world.starts {
                #expect(dues.values.allSatisfy { $0 <= Scheduler.maximumAttempts }, "seed \(seed) \(client)")
                // Nights that the machine slept through are caught up by one run for the last of them.
                let nights = Set(dues.keys.map { Int($0.timeIntervalSince1970 / 86_400) })
                #expect(nights.count > 14, "seed \(seed) \(client): \(nights.count) nights, \(crashes) crashes")
            }
            #expect(world.starts.count == 4, "seed \(seed)")
        }
    }
}
