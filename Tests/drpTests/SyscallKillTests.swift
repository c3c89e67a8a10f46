import DRPKit
import Foundation
import TestSupport
import Testing

/// SIGKILL of the real binary at a system call that changes files. Here a seeded sample; with `DRP_CAMPAIGN=1`, as
/// `script/campaign` sets it, every call.
@Suite(
    "Killed at a system call", .serialized, .needsServices,
    .enabled(if: Strace.isAllowed, "strace may not trace here"),
    .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct SyscallKillTests {
    private static let calls =
        "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,pwrite64,ftruncate"
    private static let isCampaign = ProcessInfo.processInfo.environment["DRP_CAMPAIGN"] == "1"
    /// Kills a command when it is a sample.
    private static let sample = 6
    private static let seed: UInt64 = 20_261_125

    @Test(
        "nothing older is lost, the same command works by itself afterwards, and no garbage stays",
        arguments: ["backup run", "prune run", "keys rotate", "keys add"])
    func killed(command: String) async throws {
        let world = try DemoWorld.current
        try await world.backUp()
        let arguments = try await arguments(command, world)
        let calls = try await count(arguments, world)
        try #require(calls > 0, "\(command) makes no such call")
        var random = SeededGenerator(seed: Self.seed)
        let all = Array(1...calls)
        let chosen = Self.isCampaign ? all : Array(all.shuffled(using: &random).prefix(Self.sample)).sorted()
        var kills = 0
        for number in chosen {
            try await change(world)
            let before = try await world.backups()
            let ended = try await traced(arguments, world, ["-e", "inject=\(Self.calls):signal=KILL:when=\(number)"])
            // Threads do not always share the calls in the same way: a high number may not be reached.
            guard ended.status != 0 else { continue }
            try #require(ended.status == 137, "\(command), call \(number): \(ended.stdout)\(ended.stderr)")
            kills += 1
            let after = try await world.backups()
            // The policy of a prune keeps the last two; nothing else takes any away.
            let kept = command == "prune run" ? before.listed.suffix(2) : before.listed[...]
            #expect(Set(after.listed).isSuperset(of: kept), "\(command), call \(number): \(before) -> \(after)")
            try await world.expectWhole()
            let again = try await world.drp(arguments)
            #expect(again.status == 0, "\(command) after call \(number): \(again.stdout)\(again.stderr)")
            try await world.backUp()
            #expect(DemoWorld.files(below: "\(world.store)/.drp-tmp") == [], "\(command), call \(number)")
            try await world.expectJournalAtRest()
        }
        print("\(command): killed at \(kills) of \(calls) calls")
        #expect(kills >= min(calls, Self.sample) / 2)
        try await world.expectWhole()
    }

    private func arguments(_ command: String, _ world: DemoWorld) async throws -> [String] {
        switch command {
        case "prune run":
            try world.editFleet(
                "schedule: \"daily 02:30 Europe/Paris\"", "schedule: \"daily 02:30 Europe/Paris\"\n    keep: {last: 2}")
            return ["prune", "run", "acme", "--grace", "0s", "--confirm", "acme"]
        case "keys rotate": return ["keys", "rotate", "acme"]
        case "keys add":
            let made = try await world.drp("keys", "init", "--identity", "drill.key")
            let recipient = try #require(made.stdout.firstMatch(of: /drp1[a-z0-9]+/).map { String($0.0) })
            return ["keys", "add", "acme", "--recipient", recipient, "--identity", world.identity]
        default: return ["backup", "run", "acme"]
        }
    }

    /// The most calls that one thread of an untouched run makes; strace counts them for each thread.
    private func count(_ arguments: [String], _ world: DemoWorld) async throws -> Int {
        try await change(world)
        let log = "\(world.folder)/calls"
        let ended = try await traced(arguments, world, ["-o", log])
        try #require(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
        var counts: [Substring: Int] = [:]
        for line in try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n") where line.contains("(") {
            guard let thread = line.split(separator: " ").first, !line.contains("resumed>") else { continue }
            counts[thread, default: 0] += 1
        }
        return counts.values.max() ?? 0
    }

    private func traced(_ arguments: [String], _ world: DemoWorld, _ options: [String]) async throws -> Ended {
        let output = options.first == "-o" ? [] : ["-o", "/dev/null"]
        return try await world.shell(
            [Strace.path, "-f", "-qq", "-e", "trace=\(Self.calls)"] + output + options + [DemoWorld.binary] + arguments)
    }

    private func change(_ world: DemoWorld) async throws {
        _ = try await world.python(
            "import os; mongo('north-acme-mongo').shop.news.insert_one({'text': os.urandom(50000)})")
    }
}

private enum Strace {
    static let path = "/usr/bin/strace"

    /// Some containers forbid ptrace(2).
    static let isAllowed: Bool = {
        let strace = Process()
        strace.executableURL = URL(fileURLWithPath: path)
        strace.arguments = ["-qq", "-o", "/dev/null", "true"]
        strace.standardError = FileHandle.nullDevice
        do { try strace.run() } catch { return false }
        strace.waitUntilExit()
        return strace.terminationStatus == 0
    }()
}
