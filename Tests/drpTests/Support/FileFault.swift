import DRPKit
import Foundation
import Glibc
import TestSupport
import Testing

/// A fault of files that the real binary meets, by `script/lib/faults.c`: at the n-th call of the whole process, not of
/// one of its threads, as strace counts.
struct FileFault: Sendable {
    enum Deed: Sendable {
        case kill
        /// The call fails with this `errno`, and does nothing.
        case fail(Int32)
    }

    static let flushes = "fsync,fdatasync"
    /// Every call that changes files.
    static let changes = "\(flushes),rename,link,unlink,mkdir,write,pwrite,ftruncate"

    var calls = changes
    var deed = Deed.kill
    /// Counted from 1 over the calls on what lies in `below`.
    var number: Int
    /// Whether the calls after it meet the same.
    var lasts = false
    /// Folders; the store and the state folder if nil.
    var below: [String]?
}

/// Campaigns of `script/campaign`; otherwise tests run a seeded sample of them.
enum Campaign {
    static let isFull = DemoWorld.environment["DRP_CAMPAIGN"] == "1"

    /// - Parameters:
    ///   - sample: how many otherwise.
    ///   - most: how many in a campaign, where there are too many.
    /// - Returns: all of them in a campaign, else so many of them, in order.
    static func choose<Value>(_ all: [Value], sample: Int, most: Int = .max, seed: UInt64) -> [Value] {
        let count = isFull ? most : sample
        guard count < all.count else { return all }
        var random = SeededGenerator(seed: seed)
        return all.indices.shuffled(using: &random).prefix(count).sorted().map { all[$0] }
    }
}

extension DemoWorld {
    /// Runs drp into a fault.
    /// - Parameter log: a file for the calls that count, each as `name path`.
    func drp(_ arguments: [String], fault: FileFault, log: String? = nil) async throws -> Ended {
        var settings = ["FAULT_AT": "\(fault.number)", "FAULT_LASTS": fault.lasts ? "1" : "0"]
        if case .fail(let code) = fault.deed { settings["FAULT_ERRNO"] = "\(code)" }
        // What could not be written to the store is lost; SQLite has its own ways, and its own tests.
        settings["FAULT_TEAR"] = store
        settings["FAULT_LOG"] = log
        return try await drp(arguments, environment: try await environment(fault, settings))
    }

    /// The calls that an untouched run makes, each as `name path`.
    func trace(_ arguments: [String], like fault: FileFault) async throws -> [String] {
        let log = "\(folder)/calls"
        // None before the first.
        try? FileManager.default.removeItem(atPath: log)
        let ended = try await drp(arguments, environment: try await environment(fault, ["FAULT_LOG": log]))
        guard ended.status == 0 else { throw WorldError("\(arguments): \(ended.stdout)\(ended.stderr)") }
        return try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n").map(String.init)
    }

    private func environment(_ fault: FileFault, _ more: [String: String]) async throws -> [String: String] {
        let below = fault.below ?? [store, state]
        let settings = [
            "LD_PRELOAD": try await sharedObject("faults"), "FAULT_CALLS": fault.calls,
            "FAULT_BELOW": below.joined(separator: ":"),
        ]
        return settings.merging(more) { $1 }
    }

    /// Builds `script/lib/NAME.c`, once a world, for LD_PRELOAD.
    func sharedObject(_ name: String) async throws -> String {
        let (path, source) = ("\(folder)/\(name).so", "\(Self.root)/script/lib/\(name).c")
        if FileManager.default.fileExists(atPath: path) { return path }
        let built = try await shell(["/usr/bin/env", "cc", "-shared", "-fPIC", "-O1", "-o", path, source])
        guard built.status == 0 else { throw WorldError("cc: \(built.stderr)") }
        return path
    }

    /// Below the store, without the bundles: each run that changed the journal stores one, also one that failed.
    func repositoryFiles() -> [String] { Self.files(below: store).filter { !$0.hasPrefix("bootstrap") } }

    /// Of all files below the store, without what a writer left in `.drp-tmp`, bundles, and tombstones, which stay for ever.
    func storedBytes() -> Int {
        repositoryFiles().filter { !$0.hasPrefix(".drp-tmp/") && !$0.contains("/tombstones/") }
            .reduce(0) { sum, name in
                var status = stat()
                return stat("\(store)/\(name)", &status) == 0 ? sum + Int(status.st_size) : sum
            }
    }

    /// As `backup verify`; with the content only where that is asked for, since it takes longer.
    func expectWhole(readData: Bool, _ place: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let more = readData ? ["--read-data", "--identity", identity] : []
        let ended = try await drp(["backup", "verify", "acme"] + more)
        #expect(ended.status == 0, "\(place): \(ended.stdout)\(ended.stderr)", sourceLocation: sourceLocation)
    }

    /// New content in Redis in place of the old, which nothing compresses, so that what a backup needs does not grow.
    func change(kilobytes: Int = 50) async throws {
        let program = """
            import os, sys
            sys.path.insert(0, "\(Self.root)/script/data")
            import connections
            redis = connections.Redis(connections.first_line("\(uriFile("acme", "redis"))"), None)
            redis.call("SELECT", "0")
            redis.call("DEL", *["news:%d" % number for number in range(100)])
            for number in range(\(kilobytes) // 50): redis.call("SET", "news:%d" % number, os.urandom(50000))
            """
        let ended = try await shell([Self.python, "-c", program])
        guard ended.status == 0 else { throw WorldError("python: \(ended.stderr)") }
    }

    /// Lets the policy keep the last two backups; may be called again.
    func keepTwo() throws {
        let schedule = "schedule: \"daily 02:30 Europe/Paris\""
        let text = try String(contentsOfFile: fleetFile, encoding: .utf8)
        if !text.contains("keep: {last: 2}") { try editFleet(schedule, "\(schedule)\n    keep: {last: 2}") }
    }

    static let prune = ["prune", "run", "acme", "--grace", "0s", "--confirm", "acme"]

    /// Backs up and prunes until only what two backups need is left.
    func pruneAll() async throws {
        for arguments in [["backup", "run", "acme"], Self.prune, ["backup", "run", "acme"], Self.prune, Self.prune] {
            let ended = try await drp(arguments)
            guard ended.status == 0 else { throw WorldError("\(arguments): \(ended.stdout)\(ended.stderr)") }
        }
    }
}
