import Foundation
import TestSupport
import Testing

@testable import DRPKit

@Suite("SSH forwards", .serialized, .enabled(if: SSHService.isThere, "there is no /usr/sbin/sshd"))
struct SSHForwardServiceTests {
    let service: SSHService
    init() throws { service = try SSHService() }

    /// Sends a line to a socket here and reads the answer to its end.
    private func ask(_ path: String, _ line: String) async throws -> String {
        let script =
            "import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1]); "
            + "s.sendall(sys.argv[2].encode()); s.shutdown(1); print(s.makefile().read(), end='')"
        let result = try await CommandRunner().run(["python3", "-c", script, path, line], deadline: .seconds(30))
        #expect(result.status == .exited(0), "\(result.errorText)")
        return result.outputText
    }

    /// A server at the host that answers with what it got, at a TCP address and at a socket.
    private func withEcho<Result>(_ body: (SSHTarget, SSHTarget) async throws -> Result) async throws -> Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let path = service.folder.path("echo.sock")
        process.arguments = [
            "python3", "-c",
            """
            import socket, sys, threading
            def serve(listener):
                while True:
                    peer, _ = listener.accept()
                    data = b''
                    while (more := peer.recv(4096)): data += more
                    peer.sendall(b'echo ' + data)
                    peer.close()
            tcp = socket.create_server(('127.0.0.1', 0))
            unix = socket.socket(socket.AF_UNIX); unix.bind(sys.argv[1]); unix.listen()
            for one in (tcp, unix): threading.Thread(target=serve, args=(one,), daemon=True).start()
            print(tcp.getsockname()[1], flush=True)
            sys.stdin.read()
            """, path,
        ]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        defer {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        let said = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let port = try #require(Int(said.trimmingCharacters(in: .whitespacesAndNewlines)), "\(said)")
        return try await body(.tcp(HostPort(host: "127.0.0.1", port: port)), .unix(path))
    }

    @Test("an address and a socket at the host are reached through sockets here, of the owner alone, made once")
    func forwards() async throws {
        try await withEcho { tcp, unix in
            try await service.withHost { _, host in
                for target in [tcp, unix] {
                    let path = try await host.forward(to: target)
                    #expect(try await ask(path, "hello") == "echo hello")
                    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
                    #expect(mode == 0o600 && path.utf8.count < 108)
                    #expect(try await host.forward(to: target) == path)
                }
                let logged = try String(contentsOfFile: service.auditFile, encoding: .utf8)
                #expect(logged.split(separator: "\n").count { $0.contains("ssh-forwarded") } == 2)
            }
        }
    }

    @Test("when ssh was killed, the next use has a new connection and the forward at its old place")
    func survives() async throws {
        try await withEcho { tcp, _ in
            try await service.withHost { _, host in
                let path = try await host.forward(to: tcp)
                service.killSSH()
                #expect(try await host.forward(to: tcp) == path)
                #expect(try await ask(path, "again") == "echo again")
                // Also when the server went away and came back.
                try service.restart()
                #expect(try await host.run(["echo", "up"], deadline: .seconds(30)).outputText == "up\n")
                #expect(try await ask(try await host.forward(to: tcp), "third") == "echo third")
            }
        }
    }

    @Test("nobody at the address, a host that does not forward, and a strange address are told apart")
    func refusals() async throws {
        func refusal(_ target: SSHTarget) async throws -> SSHError {
            let error = await #expect(throws: SSHError.self) {
                try await service.withHost { _, host in _ = try await host.forward(to: target) }
            }
            return try #require(error)
        }
        let nobody = try await refusal(.tcp(HostPort(host: "127.0.0.1", port: 1)))
        #expect(nobody.reason == .serviceUnreachable("127.0.0.1:1", "Connection refused"), "\(nobody)")
        let noSocket = try await refusal(.unix("/no/such.sock"))
        #expect(
            noSocket.reason
                == .serviceUnreachable(
                    "/no/such.sock", "no such socket, nobody listens, or its sshd does not forward sockets"),
            "\(noSocket)")
        for path in ["relative", "/a:/b", "/a%h", "/${HOME}", "/a b", "/" + String(repeating: "x", count: 108)] {
            #expect(try await refusal(.unix(path)).code == .fleetInvalid, "\(path)")
        }
        for name in ["-oProxyCommand=id", "a b", "a\nb", ""] {
            #expect(try await refusal(.tcp(HostPort(host: name, port: 1))).code == .fleetInvalid, "\(name)")
        }
        try service.edit("target.conf", "AllowTcpForwarding local", "AllowTcpForwarding no")
        try service.edit("target.conf", "AllowStreamLocalForwarding local", "AllowStreamLocalForwarding no")
        try service.restart()
        let tcp = try await refusal(.tcp(HostPort(host: "127.0.0.1", port: 1)))
        #expect(tcp.reason == .forwardRefused("127.0.0.1:1") && tcp.code == .siteDenied, "\(tcp)")
    }

    @Test("a service that was down is reached once it is up, and a socket that somebody deleted is made again")
    func comesUp() async throws {
        try await service.withHost { _, host in
            let target = SSHTarget.unix(service.folder.path("echo.sock"))
            await #expect(throws: SSHError.self) { _ = try await host.forward(to: target) }
            try await withEcho { _, _ in
                let path = try await host.forward(to: target)
                let first = try await ask(path, "up")
                unlink(path)
                let second = try await ask(try await host.forward(to: target), "again")
                #expect(first == "echo up" && second == "echo again")
            }
        }
    }

    @Test("many tasks that want the same address get one forward")
    func concurrent() async throws {
        try await withEcho { tcp, unix in
            try await service.withHost { _, host in
                let paths = try await withThrowingTaskGroup(of: String.self) { group in
                    for number in 0..<20 { group.addTask { try await host.forward(to: number % 2 == 0 ? tcp : unix) } }
                    return try await group.reduce(into: Set<String>()) { $0.insert($1) }
                }
                #expect(paths.count == 2)
                for path in paths { #expect(try await ask(path, "x") == "echo x") }
            }
        }
    }
}
