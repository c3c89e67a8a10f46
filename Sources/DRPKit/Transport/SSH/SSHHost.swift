internal import Foundation
internal import Glibc

/// A host of a site as drp reaches it: one connection through the bastion, over which commands run and sockets are forwarded.
/// The connection is made at the first use, and anew when it was lost. May be used from many tasks at once.
package actor SSHHost {
    static let connectDeadline = Duration.seconds(45)
    /// How long it may take until a service behind a forward is known to answer or not.
    static let probeDeadline = Duration.seconds(15)
    /// sshd lets ten sessions through one connection by default (MaxSessions).
    static let parallelCommands = 8

    package nonisolated let endpoint: SSHSite.Endpoint
    private let site: SSHSite
    private let means: SSHMeans
    private let credentials: SSHCredentials
    private var master: SSHMaster?
    private var connecting: Task<SSHMaster, any Error>?
    private var forwards: [SSHTarget: Forward] = [:]
    /// One for each target, so that who holds an old one finds the new forward there.
    private var paths: [SSHTarget: String] = [:]
    private var running = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var isClosed = false

    private struct Forward {
        var master: SSHMaster
        var task: Task<Void, any Error>
    }

    init(_ endpoint: SSHSite.Endpoint, _ site: SSHSite, _ means: SSHMeans, _ credentials: SSHCredentials) {
        self.endpoint = endpoint
        self.site = site
        self.means = means
        self.credentials = credentials
    }

    // MARK: Connecting

    /// Connects if there is no connection.
    /// - Throws: `SSHError`.
    package func connect() async throws { _ = try await connected() }

    private func connected() async throws -> SSHMaster {
        if isClosed { throw error(.closed) }
        if let master, master.isAlive { return master }
        if let connecting { return try await connecting.value }
        let task = Task { try await makeConnection() }
        connecting = task
        defer { connecting = nil }
        return try await task.value
    }

    private func makeConnection() async throws -> SSHMaster {
        await master?.close()
        master = nil
        forwards = [:]
        var line = SSHAudit.Line(action: .connected, site: site.name, endpoint: endpoint)
        let certificate = try await credentials.certificate()
        line.certificate = certificate
        do {
            let master = try await newMaster(certificate)
            do { try means.audit.write(line) } catch {
                await master.close()
                throw error
            }
            self.master = master
            return master
        } catch let error as SSHError {
            line.error = error
            try means.audit.write(line)
            throw error
        }
    }

    private func newMaster(_ certificate: SSHCertificate) async throws -> SSHMaster {
        let configuration = SSHConfiguration(
            site: site, keyFile: means.key.file, certificateFile: credentials.certificateFile,
            knownHostsFile: try means.knownHosts(of: site))
        let master: SSHMaster
        do throws(FileError) {
            master = try SSHMaster(
                to: endpoint, configuration, folder: means.folder, runner: means.runner, clock: means.clock)
        } catch { throw self.error(.noPrivateMemory(error.message)) }
        do {
            if try await master.ready(within: Self.connectDeadline) { return master }
            throw error(.late(Self.connectDeadline))
        } catch let early as SSHMaster.EndedEarly {
            await master.close()
            let side: SSHError.Side = endpoint == site.bastion ? .bastion : .host
            let reason = SSHFailure.reason(log: early.log, jump: early.jump, side: side)
            if case .denied = reason, certificate.isOver(at: means.clock.now) {
                throw error(.certificateExpired(certificate.ends.map { $0.formatted(.iso8601) } ?? ""))
            }
            throw error(reason)
        } catch let failure as CommandError {
            await master.close()
            throw failure.reason == .notFound ? error(.noProgram("ssh")) : error(.lost(failure.shortReason))
        } catch {
            await master.close()
            throw error
        }
    }

    // MARK: Forwards

    /// A unix socket here, of mode 0600, that leads to an address or a socket there.
    /// - Throws: `SSHError`; `.forwardRefused` and `.serviceUnreachable` where the target does not answer now.
    package func forward(to target: SSHTarget) async throws -> String {
        guard let argument = target.argument else { throw error(.badTarget(Printable.line("\(target)"))) }
        let master = try await connected()
        do { return try await forward(target, argument, master) } catch let error as SSHError {
            guard case .lost = error.reason, !master.isAlive else { throw error }
            // It was lost before: once more over a new connection.
            return try await forward(target, argument, try await connected())
        }
    }

    private func forward(_ target: SSHTarget, _ argument: String, _ master: SSHMaster) async throws -> String {
        // libmongoc takes a path for a socket's only if it ends so.
        let path = paths[target] ?? means.folder.newPath("f") + ".sock"
        paths[target] = path
        if let forward = forwards[target], forward.master === master {
            try await forward.task.value
            if FileManager.default.fileExists(atPath: path) { return path }
            try await cancel(argument, path, master)
        }
        let task = Task { try await makeForward(target, argument, path, master) }
        forwards[target] = Forward(master: master, task: task)
        do {
            try await task.value
            return path
        } catch {
            if forwards[target]?.master === master { forwards[target] = nil }
            throw error
        }
    }

    private func makeForward(_ target: SSHTarget, _ argument: String, _ path: String, _ master: SSHMaster) async throws
    {
        var line = SSHAudit.Line(action: .forwarded, site: site.name, endpoint: endpoint)
        line.target = target
        do {
            unlink(path)
            let result = try await through(
                master, ["-O", "forward", "-L", "\(path):\(argument)", SSHConfiguration.goal])
            guard result.status == .exited(0) else { throw error(.lost(Printable.line(result.errorText))) }
            do { try await probe(target, path, master) } catch {
                // Or ssh would believe next time that it is still there.
                try await cancel(argument, path, master)
                throw error
            }
            try means.audit.write(line)
        } catch let error as SSHError {
            line.error = error
            try means.audit.write(line)
            throw error
        }
    }

    private func cancel(_ argument: String, _ path: String, _ master: SSHMaster) async throws {
        _ = try await through(master, ["-O", "cancel", "-L", "\(path):\(argument)", SSHConfiguration.goal])
        unlink(path)
    }

    /// ssh opens the way only when somebody connects; so that the first user gets a clear answer, drp does.
    private func probe(_ target: SSHTarget, _ path: String, _ master: SSHMaster) async throws {
        let before = master.log.utf8.count
        let isOpen: Bool
        switch target {
        case .tcp(let place):
            isOpen = try await through(master, ["-W", "\(place)", SSHConfiguration.goal]).status == .exited(0)
        case .unix:
            // After the answer to a command, the host has also answered what was asked before it.
            guard let socket = SocketProbe(path) else { throw error(.lost("its forwarded socket is gone")) }
            _ = try await through(master, ["-T", SSHConfiguration.goal, "true"])
            isOpen = !socket.isEnded
        }
        if isOpen { return }
        let said = String(decoding: master.log.utf8.dropFirst(before), as: UTF8.self)
        if said.contains("administratively prohibited") { throw error(.forwardRefused("\(target)")) }
        guard said.contains("open failed") else { throw error(.lost("it ended when \(target) was tried")) }
        throw error(.serviceUnreachable("\(target)", SSHFailure.openFailure(said)))
    }

    private func through(_ master: SSHMaster, _ arguments: [String]) async throws -> CommandResult {
        do {
            return try await master.client(arguments, deadline: Self.probeDeadline)
        } catch let failure as CommandError {
            if case .deadlineExceeded(let time) = failure.reason { throw error(.late(time)) }
            throw error(.lost(failure.shortReason))
        }
    }

    // MARK: Commands

    /// Runs a program at the host, with its arguments as they are.
    /// - Parameters:
    ///   - command: A program's name or path, and arguments of any content but NUL; at most 100 KiB together. Never a secret.
    ///   - input: Standard input, nothing if empty; here secrets may stand.
    ///   - deadline: Then the connection to the program is closed; what it started there may go on.
    /// - Returns: The status of the program (128 + n if a signal ended it), its output whole, the tail of its errors.
    /// - Throws: `SSHError`; `.cut` where the output's end did not arrive.
    package func run(
        _ command: [String], input: [UInt8] = [], deadline: Duration, outputLimit: Int = 1 << 20
    ) async throws -> CommandResult {
        let remote: RemoteCommand
        do throws(RemoteCommandError) {
            remote = try RemoteCommand(command, mark: Randomness.token())
        } catch { throw self.error(.badCommand(error.cause)) }
        let program = Printable.line(command[0])
        var line = SSHAudit.Line(action: .command, site: site.name, endpoint: endpoint)
        line.program = program
        // Before it is a command's turn to fail.
        _ = try await connected()
        await enter()
        defer { leave() }
        do {
            let result: CommandResult
            do {
                result = try await send(remote, program, input, try await connected(), deadline, outputLimit)
            } catch is NeverSent {
                // The connection was lost before: once more over a new one.
                result = try await send(remote, program, input, try await connected(), deadline, outputLimit)
            }
            if case .exited(let status) = result.status { line.exitCode = status }
            try means.audit.write(line)
            return result
        } catch {
            let error = error as? SSHError ?? self.error(.lost("it was lost twice"))
            line.error = error
            try means.audit.write(line)
            throw error
        }
    }

    /// Lets another program's `ssh` use this connection, for as long as it stands: Ansible's.
    /// - Parameter program: for the record.
    /// - Returns: arguments of `ssh` and `sftp`, of letters, digits and `._/@+-=`, and what stands for the host's address then.
    /// - Throws: `SSHError`.
    package func lend(to program: String) async throws -> (arguments: [String], destination: String) {
        var line = SSHAudit.Line(action: .command, site: site.name, endpoint: endpoint)
        line.program = Printable.line(program)
        let master = try await connected()
        try means.audit.write(line)
        return (master.clientArguments, SSHConfiguration.goal)
    }

    private func send(
        _ remote: RemoteCommand, _ program: String, _ input: [UInt8], _ master: SSHMaster, _ deadline: Duration,
        _ limit: Int
    ) async throws -> CommandResult {
        // In no argument and in no pipe: a program that does not read it would end drp by SIGPIPE.
        let file: Int32?
        do throws(SSHFolderError) {
            file = input.isEmpty ? nil : try means.folder.nameless(input)
        } catch { throw self.error(.noPrivateMemory(error.cause)) }
        defer { if let file { Glibc.close(file) } }
        let result: CommandResult
        do {
            result = try await master.client(
                ["-T", SSHConfiguration.goal, remote.line], input: file, deadline: deadline,
                // What start files write before the first mark comes on top.
                outputLimit: limit + 64 << 10)
        } catch let failure as CommandError {
            switch failure.reason {
            case .deadlineExceeded(let time): throw error(.late(time))
            case .outputTooLarge: throw error(.tooLarge(limit: limit))
            default: throw error(.lost(failure.shortReason))
            }
        }
        guard result.status == .exited(0), let answer = remote.answer(in: result.output) else {
            if isNeverSent(result) { throw master.isAlive ? error(.lost("ssh does not take commands")) : NeverSent() }
            throw error(.cut(program))
        }
        guard answer.output.count <= limit else { throw error(.tooLarge(limit: limit)) }
        return CommandResult(status: .exited(answer.status), output: answer.output, errorTail: result.errorTail)
    }

    /// The ssh that should have carried the command found no master, and took the way that leads nowhere.
    private func isNeverSent(_ result: CommandResult) -> Bool {
        result.status == .exited(255) && result.output.isEmpty && result.errorText.contains("UNKNOWN port 65535")
    }

    private struct NeverSent: Error {}

    private func enter() async {
        if running < Self.parallelCommands {
            running += 1
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Hands the place over to who waits longest.
    private func leave() {
        if waiting.isEmpty { running -= 1 } else { waiting.removeFirst().resume() }
    }

    // MARK: The end

    /// Closes the connection with all that goes through it; it stays closed.
    func close() async {
        isClosed = true
        // Whatever comes of it, it is closed next.
        _ = try? await connecting?.value
        guard let master else { return }
        self.master = nil
        await master.close()
        for path in paths.values { unlink(path) }
        // There is nobody left to refuse anything to.
        try? means.audit.write(SSHAudit.Line(action: .closed, site: site.name, endpoint: endpoint))
    }

    private func error(_ reason: SSHError.Reason) -> SSHError { SSHError(reason, site.name, endpoint) }
}
