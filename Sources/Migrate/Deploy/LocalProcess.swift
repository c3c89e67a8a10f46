internal import DRPKit
internal import Foundation
internal import Glibc

/// A process that outlives drp: in a session of its own, found again by a file with its pid and start time,
/// or, if drp died before it could write that, by a mark in the environment.
struct LocalProcess: Sendable {
    /// `mongo`, `redis`, `api`.
    var name: String
    /// Absolute; holds the pid file, and serves as the mark.
    var runFolder: String
    var logFile: String

    private struct Record: Codable {
        var pid: Int32
        var startTime: UInt64
        var boot: String
    }

    private var pidFile: String { "\(runFolder)/\(name).pid" }
    private var mark: String { "DRP_SERVICE=\(runFolder)/\(name)" }

    /// - Returns: The running process, never one that merely has its number now.
    func find() -> ProcessStatus? {
        if let bytes = ProcessTable.contents(of: pidFile, atMost: 4 << 10),
            // A pid file that cannot be read is as good as none: the mark decides.
            let record = try? JSONDecoder().decode(Record.self, from: Data(bytes)),
            record.boot == ProcessTable.bootID(),
            let status = ProcessTable.status(of: record.pid, startedAt: record.startTime)
        {
            return status
        }
        return ProcessTable.sessionLeader(withEnvironment: mark)
    }

    /// Starts the process unless it runs.
    /// - Parameter environment: All that it gets beside PATH, HOME, LANG and TZ; never a secret.
    func start(_ command: [String], environment: [String: String], folder: String) throws(DeployError) {
        if let running = find() { return try record(running) }
        guard let program = command.first, !program.isEmpty else {
            throw DeployError(.settings, name, "the command is empty")
        }
        var entries = environment
        for key in ["PATH", "HOME", "LANG", "TZ"] { entries[key] = ProcessInfo.processInfo.environment[key] }
        let lines = entries.map { "\($0.key)=\($0.value)" }.sorted() + [mark]
        let pid = try Spawn.detached(command, environment: lines, folder: folder, logFile: logFile)
        guard let status = ProcessTable.status(of: pid) else {
            waitpid(pid, nil, WNOHANG)
            throw DeployError(.notStarted, name, "\(program) ended at once; see \(logFile)")
        }
        try record(status)
    }

    /// Ends the process and what it started: SIGTERM, and SIGKILL at the deadline. Not running is fine.
    func stop(deadline: Duration, clock: any WallClock) async throws {
        guard let status = find() else { return }
        kill(-status.pid, SIGTERM)
        if try await isGone(status, within: deadline, clock) { return }
        kill(-status.pid, SIGKILL)
        guard try await isGone(status, within: .seconds(10), clock) else {
            throw DeployError(.late, name, "process \(status.pid) does not end, not even by SIGKILL")
        }
    }

    private func isGone(_ status: ProcessStatus, within time: Duration, _ clock: any WallClock) async throws -> Bool {
        let end = clock.now.addingTimeInterval(time / .seconds(1))
        while ProcessTable.status(of: status.pid, startedAt: status.startTime) != nil {
            guard clock.now < end else { return false }
            try await clock.sleep(for: .milliseconds(20))
        }
        return true
    }

    private func record(_ status: ProcessStatus) throws(DeployError) {
        let record = Record(pid: status.pid, startTime: status.startTime, boot: ProcessTable.bootID())
        try PrivateFiles.write(json: record, to: pidFile)
    }
}

/// posix_spawn with what a daemon needs.
enum Spawn {
    /// - Returns: The pid of a session leader with input from /dev/null, output to `logFile` (0600, appended),
    ///   no other open file of ours, and all signals as by default.
    static func detached(
        _ command: [String], environment: [String], folder: String, logFile: String
    ) throws(DeployError) -> Int32 {
        guard (command + environment + [folder, logFile]).allSatisfy({ !$0.utf8.contains(0) }) else {
            throw DeployError(.settings, command[0], "an argument holds a zero byte")
        }
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, logFile, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        let glibc = try GlibcExtensions()
        _ = folder.withCString { glibc.addChangeFolder(&actions, $0) }
        _ = glibc.addCloseFrom(&actions, 3)
        var all = sigset_t()
        var none = sigset_t()
        sigfillset(&all)
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(
            &attributes, GlibcExtensions.newSession | Int16(POSIX_SPAWN_SETSIGDEF) | Int16(POSIX_SPAWN_SETSIGMASK))

        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { for pointer in arguments + variables { free(pointer) } }
        var pid: pid_t = 0
        let result = posix_spawnp(&pid, command[0], &actions, &attributes, &arguments, &variables)
        guard result == 0 else {
            throw DeployError(.notStarted, command[0], "it cannot be started (\(String(cString: strerror(result))))")
        }
        return pid
    }
}

/// What `<spawn.h>` of glibc 2.34 and newer offers to C with `_GNU_SOURCE` alone, and so not to Swift.
private struct GlibcExtensions {
    typealias Actions = UnsafeMutablePointer<posix_spawn_file_actions_t>

    /// POSIX_SPAWN_SETSID.
    static let newSession: Int16 = 0x80
    let addChangeFolder: @convention(c) (Actions, UnsafePointer<CChar>) -> Int32
    let addCloseFrom: @convention(c) (Actions, Int32) -> Int32

    init() throws(DeployError) {
        let program = dlopen(nil, RTLD_NOW)
        guard let chdir = dlsym(program, "posix_spawn_file_actions_addchdir_np"),
            let closefrom = dlsym(program, "posix_spawn_file_actions_addclosefrom_np")
        else { throw DeployError(.notStarted, "local processes", "they need glibc 2.34 or newer") }
        addChangeFolder = unsafeBitCast(chdir, to: (@convention(c) (Actions, UnsafePointer<CChar>) -> Int32).self)
        addCloseFrom = unsafeBitCast(closefrom, to: (@convention(c) (Actions, Int32) -> Int32).self)
    }
}
