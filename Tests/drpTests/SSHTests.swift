import DRPKit
import Foundation
import TestSupport
import Testing

/// The binary, with a client whose site is reached through a bastion.
@Suite(
    "A site behind a bastion", .serialized, .needsServices,
    .enabled(if: SSHService.isThere, "there is no /usr/sbin/sshd"),
    .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct SSHTests {
    /// Puts the way through the service into the fleet file, which gets its old text back.
    private func withBastion(
        signing options: [String] = [], _ body: (DemoWorld, SSHService, [String: String]) async throws -> Void
    ) async throws {
        let world = try DemoWorld.current
        let service = try SSHService()
        let site = try service.site(signing: options)
        let words = site.certificate.map { "\"\($0)\"" }.joined(separator: ", ")
        let old = "  north:\n    provider: local\n"
        let new = """
            \(old)    bastion:
                  address: "\(site.bastion.place)"
                  user: \(site.bastion.user)
                  host-ca: [\(site.authorities[0])]
                  certificate: {command: [\(words)]}
                hosts: [{name: h1, address: "\(site.hosts[0].place)"}]

            """
        try world.editFleet(old, new)
        do { try await body(world, service, ["XDG_RUNTIME_DIR": service.memory]) } catch {
            try world.editFleet(new, old)
            throw error
        }
        try world.editFleet(new, old)
    }

    @Test("check names certificate, bastion and host; a backup, its proof and a restore go through the bastion")
    func worksThrough() async throws {
        try await withBastion { world, service, memory in
            let check = try await world.drp(["check"], environment: memory)
            #expect(check.status == 0, "\(check.stdout)\(check.stderr)")
            for words in [
                "site north: certificate", "ends at 20", "site north: bastion", "site north: host h1",
                "through the bastion",
            ] {
                #expect(check.stdout.contains(words), "\(words): \(check.stdout)")
            }
            #expect(check.stdout.contains("acme: mongo") && check.stdout.contains("acme: redis"))
            let backup = try await world.drp(["backup", "run", "acme"], environment: memory)
            #expect(backup.status == 0, "\(backup.stdout)\(backup.stderr)")
            let restore = try await world.drp(
                [
                    "restore", "run", "acme", "--in-place", "--replace", "--identity", world.identity, "--confirm",
                    "acme",
                ], environment: memory)
            #expect(restore.status == 0, "\(restore.stdout)\(restore.stderr)")
            // Without the way in, all of that stops: nothing was reached beside it.
            try service.stop()
            let down = try await world.drp(["backup", "run", "acme"], environment: memory)
            #expect(
                down.status == 1 && down.stderr.contains("E6001") || down.stdout.contains("E6001"), "\(down.stderr)")
            #expect(service.left == [], "keys go with each command")
            let audit = try String(contentsOfFile: "\(world.state)/audit/ssh.jsonl", encoding: .utf8)
            #expect(audit.contains("ssh-forwarded") && audit.contains("ssh-closed"))
        }
    }

    @Test("when drp is killed, ssh ends and the keys are gone, at once")
    func killed() async throws {
        try await withBastion { world, service, memory in
            let pipe = "\(service.state)/started"
            #expect(mkfifo(pipe, 0o600) == 0)
            // What check runs at the host stands still there, and says so.
            try service.write("bashrc", "echo started >'\(pipe)'; sleep 1000\n")
            let drp = try world.start(["check"], environment: memory)
            let said = try await world.shell(["/usr/bin/timeout", "60", "/bin/cat", pipe])
            #expect(said.stdout == "started\n")
            let running = SSHService.processes(with: service.memory)
            #expect(running.contains { $0.arguments[0] == "ssh" } && service.left.count == 1)
            drp.signal(SIGKILL)
            #expect(try await drp.wait().status == 137)
            for (pid, _) in running {
                let gone = try await world.shell([
                    "/usr/bin/timeout", "20", "/usr/bin/tail", "-f", "/dev/null", "--pid=\(pid)",
                ])
                #expect(gone.status == 0, "process \(pid) lives on")
            }
            #expect(SSHService.processes(with: service.memory).filter { $0.arguments[0] == "ssh" }.isEmpty)
            #expect(service.left == [])
        }
    }
}
