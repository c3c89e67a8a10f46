import DRPKit
import Foundation
import Glibc
import Testing

@Suite(
    "Two writers of one client", .serialized, .needsServices, .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct LeaseTests {
    @Test("started at once: one works, each other one ends with 12 and names the one that works")
    func atOnce() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let before = try await world.backups()
        let mongod = try #require(world.pid(of: "north-acme-mongo"))
        kill(mongod, SIGSTOP)
        let writers = try (0..<3).map { _ in try world.start(["backup", "run", "acme"]) }
        // Whoever holds the lease waits for MongoDB's answer; the others end by themselves.
        while writers.count(where: \.isRunning) > 1 { usleep(10_000) }
        let holder = try #require(writers.first { $0.isRunning })
        kill(mongod, SIGCONT)
        for writer in writers {
            let ended = try await writer.wait()
            if writer === holder {
                #expect(ended.status == 0, "\(ended.stderr)")
            } else {
                expectError(ended, status: 12, code: .repositoryLeased, naming: ["client/acme", "\(holder.pid)"])
            }
        }
        #expect(try await world.backups().listed.count == before.listed.count + 1)
        try await world.expectJournalAtRest()
        try await world.expectWhole()
    }

    @Test("a holder says every 15 seconds that it lives, for as long as its backup takes")
    func heartbeat() async throws {
        let world = try DemoWorld.current
        // Redis waits for so long before it begins to send.
        func delay(_ seconds: Int) -> String {
            "redis('north-acme-redis').call('CONFIG', 'SET', 'repl-diskless-sync-delay', '\(seconds)')"
        }
        _ = try await world.python(delay(20))
        let writer = try world.start(["backup", "run", "acme"])
        let query = "SELECT since, beat FROM leases WHERE name = 'client/acme' AND held = 1 AND pid = \(writer.pid)"
        var isBeating = false
        while !isBeating, writer.isRunning {
            isBeating = try await world.sqlite(query).contains { $0[1] > $0[0] }
        }
        #expect(isBeating)
        #expect(try await writer.wait().status == 0)
        _ = try await world.python(delay(0))
    }

    /// Before the last look at the lease, and after it, when only the name in the store is left to refuse.
    @Test(
        "a holder that was stopped for longer than its lease, while another one committed, commits nothing",
        arguments: [("backup.stored", [12]), ("store.flushed", [12, 75])] as [(String, [Int32])])
    func stoppedHolder(point: String, statuses: [Int32]) async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let before = try await world.backups()
        let stopped = try await start(world, stoppingAt: point)

        // Within its time the lease is kept, also for one that does not answer.
        let refused = try await world.drp("backup", "run", "acme")
        expectError(refused, status: 12, code: .repositoryLeased, naming: ["client/acme", "\(stopped.pid)"])
        // Six minutes later, as journal and store would see it: nobody can set the time at which the kernel says that a
        // file was changed, so the store's lease is taken away.
        try await world.writeJournal(
            "UPDATE leases SET beat = strftime('%Y-%m-%dT%H:%M:%S.000Z', 'now', '-6 minutes') WHERE name = 'client/acme'"
        )
        try removeLease(world)
        try await world.backUp()
        let after = try await world.backups()
        #expect(after.listed == before.listed + [(before.listed.last ?? 0) + 1])
        let files = DemoWorld.files(below: "\(try world.repository(of: "acme"))/backups")

        stopped.signal(SIGCONT)
        let ended = try await stopped.wait()
        #expect(statuses.contains(ended.status), "\(ended.status): \(ended.stderr)")
        if ended.status == 12 {
            expectError(ended, status: 12, code: .repositoryLeased, naming: ["client/acme", "taken it over"])
        }
        #expect(try await world.backups() == after, "nothing of it is visible, in store or journal")
        #expect(DemoWorld.files(below: "\(try world.repository(of: "acme"))/backups") == files)
        try await world.backUp()
        try await world.expectJournalAtRest()
        try await world.expectWhole()
        #expect(try await world.drp("events", "verify").status == 0)
    }

    @Test("two machines that share no journal: the store's lease keeps one out, and its number the one that lost it")
    func twoMachines() async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let before = try await world.backups()
        // The other machine: the same keys and fleet file, a state folder and a journal of its own.
        let other = "\(world.folder)/other"
        try FileManager.default.createDirectory(
            atPath: "\(other)/keys", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try FileManager.default.copyItem(atPath: "\(world.state)/keys/acme", toPath: "\(other)/keys/acme")
        let fleet = "\(world.folder)/other.yaml"
        try String(contentsOfFile: world.fleetFile, encoding: .utf8)
            .replacingOccurrences(of: "state: \(world.state)", with: "state: \(other)")
            .write(toFile: fleet, atomically: true, encoding: .utf8)

        let next = (before.listed.last ?? 0) + 1
        let first = try await start(world, stoppingAt: "backup.stored")
        let refused = try await world.drp("backup", "run", "acme", "--fleet", fleet)
        expectError(refused, status: 12, code: .repositoryLeased, naming: ["\(first.pid)", "backup \(next)"])
        try removeLease(world)
        let second = try await world.drp("backup", "run", "acme", "--fleet", fleet)
        #expect(second.status == 0 && second.stdout.contains("acme/\(next)"), "\(second.stdout)\(second.stderr)")
        first.signal(SIGCONT)
        let loser = try await first.wait()
        expectError(loser, status: 75, code: .busy, naming: ["backup \(next)", "vault"])
        #expect(try await world.backups().listed == before.listed + [next])
        try await world.expectWhole()
        // Both go on, each with the next number, and know each other's backups from the store.
        try await world.backUp()
        #expect(try await world.drp("backup", "run", "acme", "--fleet", fleet).status == 0)
        let after = try await world.backups()
        #expect(after.listed == before.listed + [next, next + 1, next + 2])
        #expect(after.succeeded == before.succeeded + [next, next + 1])
        try await world.expectWhole()
    }

    private func removeLease(_ world: DemoWorld) throws {
        let lease = "\(try world.repository(of: "acme"))/lease"
        if FileManager.default.fileExists(atPath: lease) { try FileManager.default.removeItem(atPath: lease) }
    }

    /// Begins a backup, and waits until it has stopped itself.
    private func start(_ world: DemoWorld, stoppingAt point: String) async throws -> ChildProcess {
        let process = try world.start(
            ["backup", "run", "acme"], environment: ["DRP_FAILPOINT": point, "DRP_FAILPOINT_SIGNAL": "STOP"])
        while true {
            // The name in parentheses may hold anything, so the state is what follows the last one.
            let stat = FileManager.default.contents(atPath: "/proc/\(process.pid)/stat") ?? Data()
            if String(decoding: stat, as: UTF8.self).split(separator: ")").last?.hasPrefix(" T") == true {
                return process
            }
            try #require(process.isRunning)
            usleep(10_000)
        }
    }
}
