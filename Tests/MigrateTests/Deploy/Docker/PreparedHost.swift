import DRPKit
import Foundation
import TestSupport
import Testing

@testable import Migrate

/// A bare machine of `script/services/host`, and what the playbook of `ops/ansible/` makes of it.
struct PreparedHost: Sendable {
    static let admin = "admin"

    /// The machine's own folder.
    let state: String
    let address: String
    let addresses: [String]
    /// An address of this machine.
    let outside: String
    let fleetFile: String
    private let folder: String
    private let programs: String
    private static let root = (0..<5).reduce(URL(filePath: #filePath)) { url, _ in url.deletingLastPathComponent() }
        .path
    private static let service = "\(root)/script/services/host"

    /// Starts the machine, and gives it to a test.
    static func run(_ body: (PreparedHost, _ folder: String) async throws -> Void) async throws {
        try await withFolder { folder in
            let state = "\(folder)/host"
            do {
                try await OwnThread.run("host") { try SSHService.run([service, "start", state]) }
                try await body(PreparedHost(state, folder: folder), folder)
            } catch {
                try await OwnThread.run("host") { try SSHService.run([service, "stop", state]) }
                throw error
            }
            try await OwnThread.run("host") { try SSHService.run([service, "stop", state]) }
        }
    }

    private init(_ state: String, folder: String) async throws {
        self.state = state
        self.folder = folder
        programs = try #require(ProcessInfo.processInfo.environment["DRP_TEST_PROGRAMS"], DockerWorld.missing)
        let script = #"eval "$("$0" env "$1")"; echo "$HOST_OUTSIDE" $HOST_ADDRESSES"#
        let words = try await DockerWorld.run("bash", ["-c", script, Self.service, state]).output
            .split(whereSeparator: \.isWhitespace).map(String.init)
        try #require(words.count == 5)
        (outside, address, addresses) = (words[0], words[1], Array(words[2...3]))
        fleetFile = "\(folder)/fleet.yaml"
        try await writeFiles(try DockerWorld(folder: folder))
    }

    private func writeFiles(_ world: DockerWorld) async throws {
        let authority = try Self.key("\(state)/hosts.pub")
        let images = world.images
        try """
        fleet: toucan
        state: \(folder)/state
        site: office
        recovery:
          - drp1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0sf9wqmc
          - drp1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5z5tpwxqergd3c8g7rusq082fvf
        sites:
          office: {}
          north:
            docker: {images: {mongo: "\(images.mongo)", redis: "\(images.redis)", edge: "\(images.edge)"}}
            frontends: [{address: \(addresses[0])}, {address: \(addresses[1])}]
            bastion:
              address: \(address)
              principal: dr
              host-ca: [\(authority)]
              certificate: {command: [\(state)/sign, --principal, dr, "{public-key}"]}
            hosts: [{name: h1, address: \(address)}]
        stores:
          disk: {site: office, folder: \(folder)/store}
        policies:
          standard: {schedule: daily 02:30 Europe/Paris, stores: [disk]}
        environments:
          staging: {policy: standard}
        clients:
          - id: acme
            environment: staging
            site: north
            priority: 1
            services:
              api: {image: "\(world.apiImage)", port: 8081}
            domains: [acme.clients.test]
            certificate: {chain: acme.crt, key: {file: acme.key}}

        """.write(toFile: fleetFile, atomically: false, encoding: .utf8)
        var archives: [String: JSONValue] = [:]
        for (number, image) in [images.mongo, images.redis, images.edge, world.apiImage].enumerated() {
            let archive = "\(folder)/image-\(number).tar"
            let arguments = ["-H", "unix://\(world.socket)", "save", "--output", archive, image]
            try #require(try await DockerWorld.run("/usr/bin/docker", arguments).status == 0)
            archives[image] = .text(archive)
        }
        let variables: JSONValue = [
            "drp_user_authorities": [.text(try Self.key("\(state)/users.pub"))],
            "drp_admin_principals": [.text(Self.admin)],
            "drp_host_certificate_command": [.text("\(state)/sign-host"), "{public-key}", "{principals}"],
            "drp_image_archives": .object(archives),
        ]
        try variables.json().write(toFile: "\(folder)/variables.json", atomically: false, encoding: .utf8)
        try "@cert-authority * \(authority)\n".write(toFile: certified, atomically: false, encoding: .utf8)
    }

    private static func key(_ path: String) throws -> String {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: " ").prefix(2).joined(separator: " ")
    }

    func restart() async throws {
        let state = state
        try await OwnThread.run("host") { try SSHService.run([Self.service, "restart", state]) }
    }

    // MARK: Ansible

    /// Knows the hosts' authority and no host's key.
    private var certified: String { "\(folder)/certified" }
    /// Of the bare machine.
    private var known: String { "\(state)/known_hosts" }
    var providerKey: String { "\(state)/provider" }

    struct Played {
        var status: Int32
        var output: String
        /// From the last line; nil if Ansible did not come that far.
        var changed: Int?
    }

    /// Runs `site.yml` with the inventory that the real binary prints.
    /// - Parameter key: nil: with the certificate of an administrator, and by the host's certificate.
    func play(_ options: [String] = [], key: String? = nil) async throws -> Played {
        let binary = try #require(ProcessInfo.processInfo.environment["DRP_TEST_BINARY"], DockerWorld.missing)
        let identity = try await key == nil ? certificate(Self.admin) : key!
        let trust = "-o UserKnownHostsFile=\(key == nil ? certified : known) -o IdentitiesOnly=yes"
        // Connections that stay open would let in who can no longer come in. The path of a socket has to be short.
        let sockets = "/dev/shm/a\(UUID().uuidString.prefix(8))"
        let script = """
            trap 'rm -rf "$ANSIBLE_SSH_CONTROL_PATH_DIR"' EXIT
            cd "$1/ops/ansible" && export PATH="$2:$PATH" ANSIBLE_SSH_CONTROL_PATH_DIR="$3" && shift 3 && "$@" 2>&1
            """
        let command = [
            "env", "DRP=\(binary)", "DRP_FLEET=\(fleetFile)", "ANSIBLE_NOCOLOR=1", "LC_ALL=C.UTF-8", "ansible-playbook",
            "site.yml", "--private-key", identity, "--extra-vars",
            "@\(folder)/variables.json", "--extra-vars", "{\"ansible_ssh_common_args\": \"\(trust)\"}",
        ]
        let result = try await DockerWorld.run(
            "bash", ["-c", script, "bash", Self.root, programs, sockets] + command + options)
        let recap = result.output.split(separator: "\n").last { $0.hasPrefix("h1.north ") }
        let changed = recap.flatMap { $0.firstMatch(of: /changed=(\d+) +unreachable=0 +failed=0/) }.flatMap {
            Int($0.1)
        }
        return Played(status: result.status, output: result.output, changed: changed)
    }

    // MARK: SSH

    /// A new key with a certificate of minutes; the path of the key.
    func certificate(_ principal: String, by authority: String = "users") async throws -> String {
        let key = "\(folder)/\(UUID().uuidString)"
        let script = """
            set -e
            ssh-keygen -q -t ed25519 -N '' -f "$1"
            ssh-keygen -q -s "$2" -I test -n "$3" -V -1m:+5m "$1.pub" 2>/dev/null
            """
        let made = try await DockerWorld.run("bash", ["-c", script, "bash", key, "\(state)/\(authority)", principal])
        try #require(made.status == 0)
        return key
    }

    /// What ssh says and does, as somebody who trusts the hosts' authority.
    func ssh(_ user: String, key: String, _ options: [String] = [], _ command: [String] = ["true"]) async throws -> (
        status: Int32, output: String
    ) {
        let arguments =
            [
                "-F", "/dev/null", "-T", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
                "-o",
                "UserKnownHostsFile=\(certified)", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10", "-o",
                "ExitOnForwardFailure=yes", "-i", key,
            ] + options + ["\(user)@\(address)"] + command
        return try await DockerWorld.run("bash", ["-c", "exec ssh \"$@\" 2>&1", "bash"] + arguments)
    }

    /// At the machine, as root.
    @discardableResult
    func inside(_ script: String) async throws -> (status: Int32, output: String) {
        try await DockerWorld.run("\(state)/inside", ["sh", "-c", script])
    }

    // MARK: drp

    /// Gives a deployer that goes through SSH to a test.
    func withDeployer(
        _ body: (DockerDeployer, DockerWorld, SSHHost) async throws -> Void
    ) async throws {
        let fleet = try FleetReader.load(fleetFile)
        let site = try #require(fleet.sites.first { $0.docker != nil })
        let clock = SystemClock()
        let ssh = SSHTransport(
            sites: fleet.sites.compactMap(SSHSite.init), audit: SSHAudit(state: folder, clock: clock), clock: clock)
        do {
            let host = try await ssh.host(site.name)
            let socket = try await host.forward(to: .unix(#require(site.docker).socket))
            let world = try DockerWorld(folder: folder, host: ["DRP_TEST_DOCKER": socket])
            let settings = DockerSite(name: site.name, folder: world.folder, addresses: addresses, images: world.images)
            let deployer = DockerDeployer(
                settings, engine: world.engine, way: ssh.reach.way(into: site.name),
                administrator: ServerAdministrator(clock: clock), http: CurlClient(), clock: clock,
                host: { try await host.run(["/usr/bin/sudo", "-n"] + $0, deadline: .seconds(30)) })
            try await body(deployer, world, host)
        } catch {
            await ssh.close()
            throw error
        }
        await ssh.close()
    }
}
