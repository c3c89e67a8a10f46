import DRPKit
import Foundation
import Glibc
import TestSupport
import Testing

/// The binary runs real playbooks, over its own connection to a host behind a bastion.
@Suite(
    "The step ansible", .serialized, .needsServices, .enabled(if: SSHService.isThere, "there is no /usr/sbin/sshd"),
    .world(DemoWorld.Options(hasAPI: false, hasDNS: false)))
struct AnsibleStepTests {
    private static let hidden = "correct-horse-battery-staple"

    /// Site south gets a bastion and a host, and the run's only steps are these.
    private func withSteps(
        _ steps: String, _ body: (DemoWorld, SSHService, _ environment: [String: String]) async throws -> Void
    ) async throws {
        let world = try DemoWorld.current
        let service = try SSHService()
        let site = try service.site()
        let words = site.certificate.map { "\"\($0)\"" }.joined(separator: ", ")
        let old = "  south:\n    provider: local\n"
        let new = """
            \(old)    bastion:
                  address: "\(site.bastion.place)"
                  user: \(site.bastion.user)
                  host-ca: [\(site.authorities[0])]
                  certificate: {command: [\(words)]}
                hosts: [{name: h1, address: "\(site.hosts[0].place)"}]

            """
        let folder = "\(world.folder)/runbooks"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let runbook = "runbook: migrate\nabout: Playbooks\nfor: client\nsteps:\n\(steps)\n"
        try runbook.write(toFile: "\(folder)/migrate.yaml", atomically: true, encoding: .utf8)
        try world.editFleet(old, new)
        // The next test writes its own.
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = "\(DemoWorld.programs):\(DemoWorld.environment["PATH"] ?? ""):/usr/sbin"
        do { try await body(world, service, ["XDG_RUNTIME_DIR": service.memory, "PATH": path]) } catch {
            try world.editFleet(new, old)
            throw error
        }
        try world.editFleet(new, old)
    }

    private static func write(_ world: DemoWorld, _ name: String, _ text: String) throws {
        try text.write(toFile: "\(world.folder)/\(name)", atomically: true, encoding: .utf8)
    }

    private static func read(_ world: DemoWorld, _ name: String) throws -> String {
        try String(contentsOfFile: "\(world.folder)/\(name)", encoding: .utf8)
    }

    private static func migrate(_ world: DemoWorld) -> [String] {
        ["migrate", "run", "acme", "--to", "south", "--identity", world.identity, "--confirm", "acme"]
    }

    @Test(
        "a playbook runs at the target's hosts, gets what it needs in files alone, and is not run again where nothing is to do"
    )
    func works() async throws {
        let folder = try DemoWorld.current.folder
        let steps = """
              - ansible: {name: first, playbook: \(folder)/play.yml, vars: ["word=two words"], vars-file: \(folder)/vars.yml}
              - ansible: {name: again, playbook: \(folder)/play.yml, vars: ["word=two words"], vars-file: \(folder)/vars.yml, check: true}
            """
        try await withSteps(steps) { world, service, environment in
            try Self.write(world, "vars.yml", "password: \(Self.hidden)\n")
            try Self.write(
                world, "play.yml",
                """
                - hosts: site_south
                  gather_facts: false
                  tasks:
                    - name: write
                      ansible.builtin.copy:
                        content: "{{ drp_client }} {{ drp_mode }} {{ drp_input_target }} {{ word }} {{ password }}\\n"
                        dest: \(world.folder)/made
                        mode: "0600"
                    - name: look around
                      ansible.builtin.shell: |
                        echo x >>\(world.folder)/count
                        cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' ' >\(world.folder)/seen
                      changed_when: false
                """)
            let host = try await world.drp("config", "inventory", "--host", "h1.south")
            #expect(
                host.status == 0 && host.stdout.contains("\"drp_site\" : \"south\""), "\(host.stdout)\(host.stderr)")
            let unknown = try await world.drp("config", "inventory", "--host", "h9.south")
            expectError(unknown, status: 2, code: .usage, naming: ["h9.south", "NAME.SITE"])
            let plan = try await world.drp(
                ["migrate", "plan", "acme", "--to", "south", "--identity", world.identity], environment: environment)
            #expect(
                plan.stdout.contains("runs the playbook \(folder)/play.yml for h1.south"),
                "\(plan.stdout)\(plan.stderr)")
            let ended = try await world.drp(Self.migrate(world), environment: environment)
            #expect(ended.status == 0, "\(ended.stdout)\(ended.stderr)")
            #expect((ended.stdout + ended.stderr).contains("h1.south: ok 2, changed 1, failed 0, unreachable 0"))
            #expect(try Self.read(world, "made") == "acme real south two words \(Self.hidden)\n")
            #expect(try Self.read(world, "count") == "x\n")
            let seen = try Self.read(world, "seen")
            #expect(seen.contains("ansible-playbook") && !seen.contains(Self.hidden) && !seen.contains("two words"))
            // It went through the bastion, with drp's certificate, on record.
            let audit = try String(contentsOfFile: "\(world.folder)/state/audit/ssh.jsonl", encoding: .utf8)
            #expect(audit.contains("\"ansible-playbook\""))
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: "\(world.folder)/tmp").filter {
                    $0.contains("ansible")
                } == [])
        }
    }

    @Test("a task that fails is named with its host and its words, and nothing that the playbook hides is told")
    func fails() async throws {
        let folder = try DemoWorld.current.folder
        let steps = "  - ansible: {name: breaks, playbook: \(folder)/fails.yml, vars-file: \(folder)/vars.yml}"
        try await withSteps(steps) { world, _, environment in
            try Self.write(world, "vars.yml", "password: \(Self.hidden)\n")
            try Self.write(
                world, "fails.yml",
                """
                - hosts: all
                  gather_facts: false
                  tasks:
                    - name: hide
                      ansible.builtin.command: "false {{ password }}"
                      no_log: true
                      ignore_errors: true
                    - name: print the menu
                      ansible.builtin.shell: "echo out of paper >&2; exit 3"
                """)
            let ended = try await world.drp(Self.migrate(world), environment: environment)
            #expect(ended.status == 40, "\(ended.stdout)\(ended.stderr)")
            #expect(ended.stdout.contains("h1.south: the task 'print the menu' failed"), "\(ended.stdout)")
            #expect(ended.stdout.contains("out of paper"), "\(ended.stdout)")
            #expect(!(ended.stdout + ended.stderr).contains(Self.hidden))
            try Self.write(world, "fails.yml", "- hosts: nowhere\n  tasks: []\n")
            let run = try #require(try await world.sqlite("SELECT id FROM runs ORDER BY rowid DESC").first?[0])
            let nobody = try await world.drp(["runs", "resume", run], environment: environment)
            #expect(nobody.status == 40 && nobody.stdout.contains("nothing to do at any host"), "\(nobody.stdout)")
            try Self.write(
                world, "fails.yml", "- hosts: all\n  gather_facts: false\n  tasks: [ansible.builtin.ping: {}]\n")
            let mended = try await world.drp(["runs", "resume", run], environment: environment)
            #expect(mended.status == 0, "\(mended.stdout)\(mended.stderr)")
        }
    }

    @Test(
        "at its deadline Ansible ends with all its workers; after a kill of drp, the old one ends before a new one begins"
    )
    func ends() async throws {
        let folder = try DemoWorld.current.folder
        let steps = "  - ansible: {playbook: \(folder)/waits.yml, deadline: 20s}"
        try await withSteps(steps) { world, _, environment in
            try Self.write(
                world, "waits.yml",
                """
                - hosts: all
                  gather_facts: false
                  tasks:
                    - name: wait
                      ansible.builtin.command: sh -c 'echo $$ >>"$0/begun"; test -e "$0/go" || exec sleep 987654' \(world.folder)
                      delegate_to: localhost
                """)
            let begun = "\(world.folder)/begun"
            let child = try world.start(Self.migrate(world), environment: environment)
            try await Self.waitUntil { FileManager.default.fileExists(atPath: begun) && Self.waiting() == 1 }
            kill(child.pid, SIGKILL)
            _ = try await child.wait(deadline: .seconds(60))
            #expect(Self.waiting() == 1)
            let run = try #require(try await world.sqlite("SELECT id FROM runs ORDER BY rowid DESC").first?[0])
            let late = try await world.drp(["runs", "resume", run], environment: environment)
            #expect(late.status == 40, "\(late.stdout)\(late.stderr)")
            #expect(late.stdout.contains("did not end within 20 s"), "\(late.stdout)")
            #expect(Self.waiting() == 0)
            #expect(try Self.read(world, "begun").split(separator: "\n").count == 2)
            try Self.write(world, "go", "")
            let resumed = try await world.drp(["runs", "resume", run], environment: environment)
            #expect(resumed.status == 0, "\(resumed.stdout)\(resumed.stderr)")
        }
    }

    private static func waiting() -> Int {
        SSHService.processes(with: "987654").count { $0.arguments.first == "sleep" }
    }

    private static func waitUntil(_ condition: () -> Bool) async throws {
        let clock = SystemClock()
        let end = clock.now.addingTimeInterval(60)
        while !condition() {
            try #require(clock.now < end, "it did not begin within a minute")
            try await clock.sleep(for: .milliseconds(50))
        }
    }
}
