import DRPKit
import Foundation
import Glibc
import Synchronization

/// What a program said, and how it ended.
struct Ended: Sendable {
    /// The exit status; 128 and the number of the signal that ended it, as a shell says it.
    var status: Int32
    var stdout: String
    var stderr: String
}

/// A program that runs while a test goes on. Its output goes to files, so it never waits for a reader, and nothing of
/// this process is open in it: a daemon that it starts holds nothing up.
final class ChildProcess: Sendable {
    let pid: pid_t
    private let output: String
    /// Held while the process may be signalled: after it was waited for, its number may be another's.
    private let status = Mutex<Int32?>(nil)

    /// - Parameters:
    ///   - command: an absolute path and its arguments.
    ///   - output: the files of its output are named `<output>.out` and `<output>.err`.
    init(_ command: [String], environment: [String: String], folder: String, input: String?, output: String) throws {
        self.output = output
        if let input { try input.write(toFile: "\(output).in", atomically: false, encoding: .utf8) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input == nil ? "/dev/null" : "\(output).in", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "\(output).out", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, "\(output).err", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        let glibc = try GlibcExtensions()
        _ = glibc.addCloseFrom(&actions, 3)
        _ = folder.withCString { glibc.addChangeFolder(&actions, $0) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, GlibcExtensions.newSession | Int16(POSIX_SPAWN_SETSIGMASK))
        var arguments = command.map { strdup($0) } + [nil]
        var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var child: pid_t = 0
        let failure = posix_spawn(&child, command[0], &actions, &attributes, &arguments, &variables)
        guard failure == 0 else {
            throw WorldError("\(command[0]) cannot be started: \(String(cString: strerror(failure)))")
        }
        pid = child
    }

    var isRunning: Bool { poll() == nil }

    /// Sends a signal to the process alone, unless it has ended.
    func signal(_ number: Int32) {
        status.withLock { if $0 == nil { kill(pid, number) } }
    }

    /// Waits on a thread of its own, never on the cooperative pool. Past the deadline the process is killed.
    func wait(deadline: Duration = .seconds(120)) async throws -> Ended {
        let end = ContinuousClock.now + deadline
        let status = try await OwnThread.run("test-wait") { [self] in
            while true {
                if let status = poll() { return status }
                if ContinuousClock.now > end { signal(SIGKILL) }
                usleep(3000)
            }
        }
        if ContinuousClock.now > end { throw WorldError("killed after \(deadline): \(text("err"))") }
        return Ended(status: status, stdout: text("out"), stderr: text("err"))
    }

    private func poll() -> Int32? {
        status.withLock { known in
            if let known { return known }
            var raw: Int32 = 0
            guard waitpid(pid, &raw, WNOHANG) == pid else { return nil }
            let number = raw & 0x7f
            known = number == 0 ? (raw >> 8) & 0xff : 128 + number
            return known
        }
    }

    private func text(_ suffix: String) -> String {
        String(decoding: FileManager.default.contents(atPath: "\(output).\(suffix)") ?? Data(), as: UTF8.self)
    }
}

/// What `<spawn.h>` of glibc 2.34 and newer offers to C with `_GNU_SOURCE` alone, and so not to Swift.
private struct GlibcExtensions {
    typealias Actions = UnsafeMutablePointer<posix_spawn_file_actions_t>

    /// POSIX_SPAWN_SETSID.
    static let newSession: Int16 = 0x80
    let addChangeFolder: @convention(c) (Actions, UnsafePointer<CChar>) -> Int32
    let addCloseFrom: @convention(c) (Actions, Int32) -> Int32

    init() throws {
        let program = dlopen(nil, RTLD_NOW)
        guard let chdir = dlsym(program, "posix_spawn_file_actions_addchdir_np"),
            let closefrom = dlsym(program, "posix_spawn_file_actions_addclosefrom_np")
        else { throw WorldError("these tests need glibc 2.34 or newer") }
        addChangeFolder = unsafeBitCast(chdir, to: (@convention(c) (Actions, UnsafePointer<CChar>) -> Int32).self)
        addCloseFrom = unsafeBitCast(closefrom, to: (@convention(c) (Actions, Int32) -> Int32).self)
    }
}

/// The world of a test could not be made; no finding about drp.
struct WorldError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}
