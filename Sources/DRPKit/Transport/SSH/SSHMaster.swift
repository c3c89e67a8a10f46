internal import Foundation
internal import Synchronization

/// One OpenSSH process that holds a connection, through which commands and forwards go (ssh_config(5), ControlMaster). It is
/// in a session of its own and ends with drp, however drp ends.
final class SSHMaster: Sendable {
    /// As long as a connection may live: it ends before, when it is closed or lost.
    private static let lifetime = Duration.seconds(365 * 86_400)
    private static let pollInterval = Duration.milliseconds(10)

    let configurationFile: String
    let socket: String
    private let logFile: String
    private let folder: SSHFolder
    private let runner: CommandRunner
    private let clock: any WallClock
    private let task: Task<CommandResult, any Error>
    /// What it wrote to standard error; set once it has ended.
    private let ended: EndedState

    private final class EndedState: Sendable {
        private let text = Mutex<String?>(nil)
        var value: String? { text.withLock { $0 } }
        func set(_ value: String) { text.withLock { $0 = value } }
    }

    /// Starts it, without waiting for the connection.
    init(
        to endpoint: SSHSite.Endpoint, _ configuration: SSHConfiguration, folder: SSHFolder, runner: CommandRunner,
        clock: any WallClock
    ) throws(FileError) {
        socket = folder.newPath("m")
        logFile = folder.newPath("l")
        configurationFile = folder.newPath("o")
        self.folder = folder
        self.runner = runner
        self.clock = clock
        try AtomicFile.write(
            configurationFile, Array(configuration.text(to: endpoint, socket: socket).utf8), mode: 0o600, .createOnly)
        let ended = EndedState()
        self.ended = ended
        let command = [
            "ssh", "-F", configurationFile, "-E", logFile, "-o", "ControlMaster=yes", "-N", "-T", SSHConfiguration.goal,
        ]
        task = Task { [folder, runner] in
            do {
                let result = try await folder.watched(command, runner, deadline: Self.lifetime)
                ended.set(result.errorText)
                return result
            } catch {
                ended.set("")
                throw error
            }
        }
    }

    /// Whether it listens at its socket: one that was killed a moment ago does not, though its end is not known yet.
    var isAlive: Bool { ended.value == nil && SocketProbe(socket) != nil }

    /// Waits until it is connected: then its socket is there.
    /// - Returns: false at the deadline.
    /// - Throws: what ended it: `EndedEarly`, `CommandError`.
    func ready(within time: Duration) async throws -> Bool {
        let end = clock.now.addingTimeInterval(time / .seconds(1))
        while !isAlive {
            if let text = ended.value {
                _ = try await task.value
                throw EndedEarly(log: log, jump: text)
            }
            guard clock.now < end else { return false }
            try await clock.sleep(for: Self.pollInterval)
        }
        return true
    }

    struct EndedEarly: Error {
        var log: String
        var jump: String
    }

    /// The last 16 KiB of what the ssh to the host wrote.
    var log: String {
        // None yet says as much as an empty one.
        let data = FileManager.default.contents(atPath: logFile) ?? Data()
        return String(decoding: data.suffix(16 << 10), as: UTF8.self)
    }

    /// Runs a second ssh that goes through this one, and never makes a connection of its own.
    func client(
        _ arguments: [String], input: Int32? = nil, deadline: Duration, outputLimit: Int = 64 << 10
    ) async throws -> CommandResult {
        try await runner.run(
            ["ssh"] + clientArguments + arguments, input: input, deadline: deadline, outputLimit: outputLimit)
    }

    /// By which an ssh goes through this one, or nowhere.
    var clientArguments: [String] { ["-F", configurationFile, "-o", "ProxyCommand=/bin/false"] }

    /// Asks it to end, and ends it.
    func close() async {
        if isAlive {
            // Whether it answers or not, it is killed next.
            _ = try? await client(["-O", "exit", SSHConfiguration.goal], deadline: .seconds(5))
        }
        task.cancel()
        _ = await task.result
        for path in [socket, logFile, configurationFile] { unlink(path) }
    }
}
