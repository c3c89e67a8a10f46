import DRPKit
import Foundation
import Testing

/// `drp serve` under a shifted clock: a library before libc moves the time of day of the real binary; nothing else is faked.
@Suite("drp serve", .serialized, .needsServices)
struct ServeTests {
    @Test("three nights with a restart and a missed night: each backed up once, the missed one caught up once")
    func threeNights() async throws {
        var options = DemoWorld.Options()
        (options.hasAPI, options.hasDNS) = (false, false)
        try await DemoWorld.run(options) { world in
            let clock = try await ShiftedClock(world)
            // The Friday before the night in which Paris has no 02:30: a client without any backup gets one at once.
            try clock.set("2027-03-26T12:00:00Z")
            var serve = try clock.serve()
            try await clock.wait(for: ["2027-03-26T01:30:00.000Z"])

            try clock.set("2027-03-27T01:29:58Z")
            let first = ["2027-03-26T01:30:00.000Z", "2027-03-27T01:30:00.000Z"]
            try await clock.wait(for: first)
            try await clock.stop(serve)

            // A restart in the same night starts nothing again.
            serve = try clock.serve()
            try await clock.letItLook()
            try await clock.wait(for: first)
            try await clock.stop(serve)

            // Down over the night of the change to summer time; 02:30 does not exist, so it was due at 03:00, 01:00 UTC.
            try clock.set("2027-03-28T09:00:00Z")
            serve = try clock.serve()
            try await clock.wait(for: first + ["2027-03-28T01:00:00.000Z"])
            try await clock.letItLook()

            try clock.set("2027-03-29T00:29:58Z")
            try await clock.wait(for: first + ["2027-03-28T01:00:00.000Z", "2027-03-29T00:30:00.000Z"])
            try await clock.stop(serve)
            let outcomes = try await world.sqlite("SELECT DISTINCT outcome FROM jobs")
            #expect(outcomes == [["ok"]])
            let list = try await world.drp("backup", "list", "--json")
            #expect(list.stdout.components(separatedBy: "\"number\"").count - 1 == 4)
        }
    }

    @Test("SIGTERM lets a running backup end, and a second server is refused")
    func drains() async throws {
        var options = DemoWorld.Options()
        (options.hasAPI, options.hasDNS, options.megabytes) = (false, false, 40)
        try await DemoWorld.run(options) { world in
            let clock = try await ShiftedClock(world)
            try clock.set("2027-03-26T12:00:00Z")
            let serve = try clock.serve()
            while try await world.sqlite("SELECT 1 FROM jobs").isEmpty { try #require(serve.isRunning) }
            let second = try await world.drp("serve")
            #expect(second.status == 12, "\(second.stderr)")
            try await clock.stop(serve)
            #expect(try await world.sqlite("SELECT outcome FROM jobs") == [["ok"]])
            let verify = try await world.drp("backup", "verify")
            #expect(verify.status == 0, "\(verify.stdout)")
        }
    }
}

/// Moves the wall clock of drp's processes, which read the shift from a file at each call.
private struct ShiftedClock {
    let world: DemoWorld
    private let file: String
    private let library: String

    init(_ world: DemoWorld) async throws {
        self.world = world
        file = "\(world.folder)/clock"
        library = try await world.sharedObject("shift_clock")
    }

    /// - Parameter time: as `2027-03-26T12:00:00Z`.
    func set(_ time: String) throws {
        guard let date = try? Date(time, strategy: .iso8601) else { throw WorldError("no time: \(time)") }
        let shift = date.timeIntervalSince(SystemClock().now)
        try "\(Int(shift.rounded()))\n".write(toFile: file, atomically: true, encoding: .utf8)
    }

    func serve() throws -> ChildProcess {
        try world.start(["serve"], environment: ["LD_PRELOAD": library, "SHIFT_FILE": file, "TZ": "UTC"])
    }

    /// Until the journal has exactly these jobs, by the time that they were due, and all have ended.
    func wait(for due: [String]) async throws {
        let end = SystemClock().now.addingTimeInterval(240)
        while SystemClock().now < end {
            let open = try await world.sqlite("SELECT count(*) FROM jobs WHERE finished IS NULL")
            let jobs = try await world.sqlite("SELECT due FROM jobs ORDER BY id")
            if open == [["0"]], jobs.map({ $0[0] }) == due { return }
            if jobs.count > due.count { break }
        }
        throw WorldError("jobs \(try await world.sqlite("SELECT due, outcome, error FROM jobs")) instead of \(due)")
    }

    /// Long enough for several looks of the scheduler, which comes each second: for what must not happen.
    func letItLook() async throws { try await SystemClock().sleep(for: .seconds(3)) }

    func stop(_ serve: ChildProcess) async throws {
        serve.signal(SIGTERM)
        let ended = try await serve.wait()
        guard ended.status == 0 else { throw WorldError("serve ended with \(ended.status): \(ended.stderr)") }
    }
}
