package import DRPKit
internal import Foundation
internal import Glibc

/// A bastion and a target of a test's own: two real sshd, started by `script/services/ssh`, and an account's folder in
/// memory. Ends with the value.
package final class SSHService: Sendable {
    package struct Failure: Error, CustomStringConvertible {
        package var description: String
    }

    /// False where there is no sshd, unless tests must find it.
    package static let isThere =
        FileManager.default.isExecutableFile(atPath: "/usr/sbin/sshd")
        || ProcessInfo.processInfo.environment["REQUIRE_SERVICES"] != nil
    package static let siteName = SiteName(unchecked: "north")

    package let folder: TemporaryFolder
    /// What drp takes for `$XDG_RUNTIME_DIR`.
    package let memory: String
    private static let scripts = (0..<3).reduce(URL(fileURLWithPath: #filePath)) { url, _ in
        url.deletingLastPathComponent()
    }.appending(path: "script/services").path

    package init() throws {
        folder = try TemporaryFolder()
        memory = "/dev/shm/t" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(
            atPath: memory, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        try Self.run(["\(Self.scripts)/ssh", "start", state])
    }

    deinit {
        // What does not end here ends with the run of the tests.
        try? Self.run(["\(Self.scripts)/ssh", "stop", state])
        try? FileManager.default.removeItem(atPath: memory)
    }

    /// The service's own folder.
    package var state: String { folder.path("ssh") }
    package var auditFile: String { folder.path("audit/ssh.jsonl") }
    package var signed: Int { get throws { try lines("signed").count } }
    /// What drp left in memory: folders of processes.
    package var left: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: "\(memory)/drp-\(getuid())")) ?? []
    }

    package func restart() throws { try Self.run(["\(Self.scripts)/ssh", "restart", state]) }
    package func stop() throws { try Self.run(["\(Self.scripts)/ssh", "stop", state]) }

    /// Puts text in place of other text in a configuration; `restart` follows.
    package func edit(_ file: String, _ old: String, _ new: String) throws {
        let path = "\(state)/\(file)"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        guard text.contains(old) else { throw Failure(description: "\(file) does not hold \(old)") }
        try text.replacing(old, with: new).write(toFile: path, atomically: true, encoding: .utf8)
    }

    package func lines(_ file: String) throws -> [String] {
        try String(contentsOfFile: "\(state)/\(file)", encoding: .utf8).split(whereSeparator: \.isNewline).map(
            String.init)
    }

    package func write(_ file: String, _ text: String) throws {
        try text.write(toFile: "\(state)/\(file)", atomically: false, encoding: .utf8)
    }

    package static let hasOpenBao =
        ProcessInfo.processInfo.environment["DRP_TEST_PROGRAMS"].map {
            FileManager.default.isExecutableFile(atPath: $0 + "/bao")
        } ?? false

    /// Starts a second authority, which bastion and target trust from then on.
    /// - Returns: its certificate command, which takes the file of the public key.
    package func startOpenBao() throws -> String {
        try Self.run(["\(Self.scripts)/openbao", "start", folder.path("bao"), "--ttl", "60s"])
        let both =
            try String(contentsOfFile: "\(state)/users.pub", encoding: .utf8)
            + String(contentsOfFile: folder.path("bao/ca.pub"), encoding: .utf8)
        try write("users.pub", both)
        return folder.path("bao/sign")
    }

    package func stopOpenBao() {
        // What does not end here ends with the run of the tests.
        try? Self.run(["\(Self.scripts)/openbao", "stop", folder.path("bao")])
    }

    /// Starts an empty server of a test's own, which must be stopped.
    /// - Parameter kind: `mongodb` or `redis`.
    /// - Returns: the file with the URI of its administrator.
    package func startServer(_ kind: String) throws -> String {
        try Self.run(["\(Self.scripts)/\(kind)", "start", folder.path(kind)])
        return folder.path("\(kind)/uri.admin")
    }

    package func stopServer(_ kind: String) {
        // What does not end here ends with the run of the tests.
        try? Self.run(["\(Self.scripts)/\(kind)", "stop", folder.path(kind)])
    }

    /// The way in, as a fleet file would give it.
    /// - Parameter options: of the `sign` script.
    package func site(signing options: [String] = []) throws -> SSHSite {
        let user = try lines("principals")[0]
        let (bastion, target) = (try place("bastion.address"), try place("target.address"))
        return SSHSite(
            name: Self.siteName,
            bastion: .init(name: "bastion", address: bastion.host, port: bastion.port, user: user),
            hosts: [.init(name: "h1", address: target.host, port: target.port, user: user)],
            authorities: [try lines("hosts.pub")[0].split(separator: " ").prefix(2).joined(separator: " ")],
            principal: user, certificate: ["\(state)/sign"] + options + [Site.Bastion.publicKey])
    }

    /// Must be closed.
    package func transport(_ site: SSHSite) -> SSHTransport {
        var environment = ProcessInfo.processInfo.environment
        environment["XDG_RUNTIME_DIR"] = memory
        let clock = SystemClock()
        return SSHTransport(
            sites: [site], audit: SSHAudit(state: folder.path, clock: clock), clock: clock, environment: environment)
    }

    /// Gives a transport and its only host to a test, and closes it.
    package func withHost<Result>(
        _ site: SSHSite? = nil, _ body: (SSHTransport, SSHHost) async throws -> Result
    ) async throws -> Result {
        let transport = transport(try site ?? self.site())
        do {
            let result = try await body(transport, try await transport.host(Self.siteName))
            await transport.close()
            return result
        } catch {
            await transport.close()
            throw error
        }
    }

    package func place(_ file: String) throws -> HostPort {
        guard let place = HostPort(try lines(file)[0]) else { throw Failure(description: "\(file) holds no address") }
        return place
    }

    /// Runs a program to its end. Not by Foundation's `Process`: that would wait for the daemons that a script starts, which
    /// inherit what it waits for, and they would inherit the signals that this thread blocks, and could not be ended.
    package static func run(_ command: [String]) throws {
        let errors = FileManager.default.temporaryDirectory.appending(path: "ssh-\(UUID().uuidString).err").path
        defer { unlink(errors) }
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let arguments = command.map { strdup($0) } + [nil]
        let variables = ProcessInfo.processInfo.environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var child: pid_t = 0
        let failure = posix_spawn(&child, command[0], &actions, &attributes, arguments, variables)
        guard failure == 0 else {
            throw Failure(description: "\(command[0]) cannot be started: \(String(cString: strerror(failure)))")
        }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        guard status == 0 else {
            let text = String(decoding: FileManager.default.contents(atPath: errors) ?? Data(), as: UTF8.self)
            throw Failure(description: "\(command.joined(separator: " ")): \(text)")
        }
    }

    /// Kills all ssh of this account's folder in memory, and waits until they are gone.
    package func killSSH() {
        for (pid, _) in Self.processes(with: memory) {
            kill(pid, SIGKILL)
            while let state = FileManager.default.contents(atPath: "/proc/\(pid)/stat"),
                !String(decoding: state, as: UTF8.self).contains(") Z ")
            { usleep(1000) }
        }
    }

    /// Processes whose arguments hold a text: pid and arguments.
    package static func processes(with text: String) -> [(pid: Int32, arguments: [String])] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { Int32($0) }.compactMap { pid in
            guard let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return nil }
            let line = String(decoding: bytes, as: UTF8.self)
            guard line.contains(text) else { return nil }
            return (pid, line.split(separator: "\0", omittingEmptySubsequences: false).map(String.init))
        }
    }
}
