import DRPKit
import Foundation
import Testing

@testable import Migrate

/// The playbook of `ops/ansible/` against a machine with systemd, and drp at what it made.
@Suite(
    "Hosts that Ansible prepares", .serialized,
    .enabled(
        if: ProcessInfo.processInfo.environment["DRP_TEST_MACHINES"] != nil,
        "they need machines of script/services/host: start with script/test, as root"))
struct PreparedHostTests {
    private static let client = ClientID(unchecked: "acme")

    @Test(
        "a bare machine becomes a host of a Docker site, a second run changes nothing, and what was changed by hand is mended"
    )
    func lifeCycle() async throws {
        try await PreparedHost.run { host, _ in
            let dry = try await host.play(["--check"], key: host.providerKey)
            #expect(dry.status == 0 && (dry.changed ?? 0) > 10, "\(dry.output)")
            #expect(try await host.inside("ls /etc/drp /etc/docker").status != 0)

            let first = try await host.play(key: host.providerKey)
            try #require(first.status == 0 && (first.changed ?? 0) > 20, "\(first.output)")
            let second = try await host.play()
            #expect(second.status == 0 && second.changed == 0, "\(second.output)")

            try await Self.expectDoorsShut(host)
            try await host.withDeployer { deployer, world, ssh in
                let deployment = try await deployer.deploy(try await world.spec("acme", owner: UUID()))
                #expect(try await deployer.observe(Self.client) == .complete(deployment))
                try await Self.expectServing(host, deployment.address, world)
                try await Self.expectApart(host, world)
                try await Self.expectCounting(deployer)
                try await Self.mend(host, world)
                #expect(try await deployer.observe(Self.client) == .complete(deployment))
            }
            try await host.restart()
            try await host.withDeployer { deployer, _, _ in
                guard case .partial(let deployment, let missing) = try await deployer.observe(Self.client) else {
                    Issue.record("something started by itself after a reboot")
                    return
                }
                #expect(missing.filter { $0.hasSuffix("does not run") }.count == 4)
                let rules = try await host.inside("nft list table inet drp_host | grep -c 'policy drop'").output
                #expect(rules == "2\n")
                #expect(try await deployer.start(Self.client) == deployment)
                #expect(try await deployer.observe(Self.client) == .complete(deployment))
            }
        }
    }

    /// Certificates of the right authority, for the right account, and nothing else.
    private static func expectDoorsShut(_ host: PreparedHost) async throws {
        let (dr, admin) = (try await host.certificate("dr"), try await host.certificate(PreparedHost.admin))
        #expect(try await host.ssh("drp", key: dr, [], ["id", "-un"]).output == "drp\n")
        #expect(try await host.ssh("root", key: admin, [], ["id", "-un"]).output == "root\n")
        let stranger = try await host.certificate("dr", by: "hosts")
        for (user, key) in [("root", host.providerKey), ("root", dr), ("drp", admin), ("drp", stranger), ("sshd", dr)] {
            let refused = try await host.ssh(user, key: key)
            #expect(
                refused.status == 255 && refused.output.contains("Permission denied (publickey)"), "\(refused.output)")
        }
        // Without any key it is seen what is offered: no passwords.
        let bare = try await host.ssh("drp", key: "/dev/null", ["-o", "PubkeyAuthentication=no"])
        #expect(bare.output.contains("Permission denied (publickey)."), "\(bare.output)")
        // Nothing comes back through a connection.
        let back = try await host.ssh("drp", key: dr, ["-R", "127.0.0.1:2222:127.0.0.1:22"])
        #expect(back.status == 255, "\(back.output)")
        // What listens everywhere there is reached from nowhere.
        try await host.inside("systemd-run --quiet python3 -m http.server 8000")
        let asked = try await DockerWorld.run("curl", ["-s", "--connect-timeout", "1", "http://\(host.address):8000/"])
        #expect(asked.status == 28)
    }

    /// HTTPS with the client's marker, from outside.
    private static func expectServing(_ host: PreparedHost, _ address: String, _ world: DockerWorld) async throws {
        let name = "acme.clients.test"
        let answer = try await DockerWorld.run(
            "curl",
            [
                "-si", "--max-time", "10", "--cacert", world.authority, "--resolve", "\(name):443:\(address)",
                "https://\(name)/",
            ])
        #expect(answer.status == 0 && answer.output.lowercased().contains("x-drp-client: acme"), "\(answer.output)")
    }

    /// A container reaches neither the host's services nor, from a database, the world.
    private static func expectApart(_ host: PreparedHost, _ world: DockerWorld) async throws {
        func connects(_ role: DockerRole, _ address: String, _ port: Int) async throws -> Bool {
            let pid = try await world.pid("acme", role)
            let script = "import socket; socket.create_connection((\"\(address)\", \(port)), 1)"
            return try await host.inside("nsenter --net=/proc/\(pid)/ns/net python3 -c '\(script)' 2>/dev/null").status
                == 0
        }
        #expect(try await !connects(.api, host.address, 22))
        #expect(try await !connects(.edge, host.address, 8000))
        #expect(try await !connects(.mongo, host.address, 22))
        #expect(try await connects(.edge, "127.0.0.1", 8443))
    }

    /// drp may change the packet filter there, as a drill needs it.
    private static func expectCounting(_ deployer: DockerDeployer) async throws {
        let counter = PacketCounter(DockerNames(client: client, isDrill: true), run: deployer.host)
        try await counter.begin(bridge: "drp0", Subnet("10.213.9.0/28")!)
        #expect(try await counter.read() == PacketCount(left: 0, toHost: 0, tried: 0))
        try await counter.end()
    }

    /// A configuration of sshd that lets passwords in, an account's principals, a setting of Docker, and a firewall that is gone.
    private static func mend(_ host: PreparedHost, _ world: DockerWorld) async throws {
        let containers = try await pids(world)
        try await host.inside(
            """
            sed -i 's/^PasswordAuthentication no/PasswordAuthentication yes/' /etc/ssh/sshd_config
            systemctl reload ssh
            echo dr >/etc/ssh/drp/principals/nobody
            sed -i 's/"userland-proxy": false/"userland-proxy": true/' /etc/docker/daemon.json
            nft delete table inet drp_host
            """)
        let mended = try await host.play()
        #expect(mended.status == 0 && (4...8).contains(mended.changed ?? 0), "\(mended.output)")
        let seen = try await host.inside(
            """
            sshd -T | grep '^passwordauthentication'; ls /etc/ssh/drp/principals; grep userland /etc/docker/daemon.json
            nft list table inet drp_host | grep -c 'policy drop'
            """)
        #expect(seen.output == "passwordauthentication no\ndrp\nroot\n    \"userland-proxy\": false\n2\n")
        // Docker was started anew, and its containers ran on.
        #expect(try await pids(world) == containers)
    }

    private static func pids(_ world: DockerWorld) async throws -> [Int64] {
        var pids: [Int64] = []
        for role in DockerRole.allCases { pids.append(try await world.pid("acme", role)) }
        return pids
    }
}
