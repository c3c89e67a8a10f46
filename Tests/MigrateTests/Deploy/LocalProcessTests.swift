import DRPKit
import Foundation
import Glibc
import Testing

@testable import Migrate

@Suite("Local processes")
struct LocalProcessTests {
    @Test("a process outlives who started it, in a session of its own, and is found by its file or by its mark")
    func startFindStop() async throws {
        try await withFolder { folder in
            let process = LocalProcess(name: "api", runFolder: folder, logFile: "\(folder)/api.log")
            #expect(process.find() == nil)
            try process.start(["sleep", "1000"], environment: ["A": "b"], folder: folder)
            let running = try #require(process.find())
            #expect(running.session == running.pid)
            try process.start(["sleep", "1000"], environment: [:], folder: folder)
            #expect(process.find()?.pid == running.pid)

            let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(running.pid)/fd")
            #expect(open.sorted() == ["0", "1", "2"])
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(running.pid)/cwd") == folder)

            try FileManager.default.removeItem(atPath: "\(folder)/api.pid")
            #expect(process.find()?.pid == running.pid)
            try process.start(["sleep", "1000"], environment: [:], folder: folder)
            #expect(process.find()?.pid == running.pid)

            try await process.stop(deadline: .seconds(10), clock: SystemClock())
            #expect(process.find() == nil)
            try await process.stop(deadline: .seconds(10), clock: SystemClock())
        }
    }

    @Test("what ignores SIGTERM is killed, with its children")
    func stubborn() async throws {
        try await withFolder { folder in
            let process = LocalProcess(name: "api", runFolder: folder, logFile: "\(folder)/api.log")
            let script = "trap '' TERM; sleep 1000 & echo $! > child; wait; wait"
            try process.start(["/bin/sh", "-c", script], environment: [:], folder: folder)
            var child: Int32?
            while child == nil {
                child = Int32((try? String(contentsOfFile: "\(folder)/child", encoding: .utf8))?.dropLast() ?? "")
                try await SystemClock().sleep(for: .milliseconds(5))
            }
            try await process.stop(deadline: .milliseconds(100), clock: SystemClock())
            #expect(process.find() == nil)
            // The kernel ends the group at once, but not in this instant.
            let orphan = try #require(child)
            while ProcessTable.status(of: orphan) != nil { try await SystemClock().sleep(for: .milliseconds(5)) }
        }
    }

    @Test("a recorded number that another process has now is not ours")
    func reusedNumber() async throws {
        try await withFolder { folder in
            let process = LocalProcess(name: "api", runFolder: folder, logFile: "\(folder)/api.log")
            let me = try #require(ProcessTable.status(of: getpid()))
            for (start, boot) in [(me.startTime + 1, ProcessTable.bootID()), (me.startTime, "another")] {
                let text = #"{"pid": \#(me.pid), "startTime": \#(start), "boot": "\#(boot)"}"#
                try PrivateFiles.write(Array(text.utf8), to: "\(folder)/api.pid")
                #expect(process.find() == nil)
                try await process.stop(deadline: .seconds(1), clock: SystemClock())
            }
        }
    }

    @Test("the search for a process leaves the ended children of others to those who wait for them")
    func leavesOthersChildren() async throws {
        try await withFolder { folder in
            let other = try Spawn.detached(["/bin/true"], environment: [], folder: folder, logFile: "\(folder)/log")
            while ProcessTable.status(of: other) != nil { sched_yield() }
            #expect(LocalProcess(name: "api", runFolder: folder, logFile: "\(folder)/api.log").find() == nil)
            #expect(waitpid(other, nil, 0) == other)
        }
    }

    @Test("a program that is not there is named")
    func missingProgram() async throws {
        try await withFolder { folder in
            let process = LocalProcess(name: "api", runFolder: folder, logFile: "\(folder)/api.log")
            let error = #expect(throws: DeployError.self) {
                try process.start(["/nowhere/program"], environment: [:], folder: folder)
            }
            #expect(error?.reason == .notStarted && error?.message.contains("/nowhere/program") == true)
        }
    }

    @Test("the status of a process is read also when its name holds parentheses and spaces")
    func hostileName() throws {
        let fields = (["S", "1", "7", "7"] + Array(repeating: "0", count: 15) + ["4711", "0"]).joined(separator: " ")
        let status = try #require(ProcessStatus(pid: 7, stat: Array("7 (a) S 9 (b) \(fields)\n".utf8)))
        #expect(status.parent == 1 && status.session == 7 && status.startTime == 4711 && !status.isZombie)
        #expect(ProcessStatus(pid: 7, stat: Array("7 (a) S 1".utf8)) == nil)
        #expect(ProcessStatus(pid: 7, stat: []) == nil)
    }

    @Test("a path in redis-server's configuration cannot end its line")
    func quoting() {
        #expect(ServiceConfigurations.quoted("/a b/\"c\"\\\n") == #""/a b/\"c\"\\\x0a""#)
    }
}

/// A folder of its own for `body`, deleted afterwards.
func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.resolvingSymlinksInPath().path + "/drp-\(UUID().uuidString)"
    try PrivateFiles.makeFolder(folder)
    do { try await body(folder) } catch {
        try FileManager.default.removeItem(atPath: folder)
        throw error
    }
    try FileManager.default.removeItem(atPath: folder)
}
