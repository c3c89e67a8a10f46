package import DRPKit

/// What left a drill's networks.
package struct PacketCount: Sendable, Hashable, Codable {
    /// Was forwarded to anywhere else.
    package var left: Int64
    /// Began something with the host itself, whether it was let in or not.
    package var toHost: Int64
    /// Was meant for another network, whether it came there or not.
    package var tried: Int64
}

/// Runs a program at a site's host, with the rights to change its packet filter.
package typealias HostCommand = @Sendable (_ command: [String]) async throws -> CommandResult

/// Counts what leaves the networks of a drill, by rules in the host's table `mangle` that decide nothing: what Docker's own rules
/// and the host's firewall stop, they stop as everywhere, and what comes through is seen (iptables(8), iptables-extensions(8)).
struct PacketCounter: Sendable {
    static let iptables = "/usr/sbin/iptables"
    static let save = "/usr/sbin/iptables-save"

    /// Stands in each rule, before what it counts.
    let mark: String
    let run: HostCommand

    init(_ names: DockerNames, run: @escaping HostCommand) {
        mark = names.prefix + "packets_"
        self.run = run
    }

    private enum Kind: String, CaseIterable {
        case hostTCP = "host-tcp", hostOther = "host-other", left, tried
    }

    /// Puts the rules of a network in place, those that are there already left as they are.
    func begin(bridge: String, _ subnet: Subnet) async throws {
        let there = try await rules()
        for kind in Kind.allCases {
            let spec = spec(kind, bridge, subnet)
            // With the same addresses: a network that was made anew may have others.
            let parts = spec.filter { $0 == bridge || $0 == "\(subnet)" || $0 == comment(kind) }
            guard !there.contains(where: { rule in parts.allSatisfy(rule.spec.contains) }) else { continue }
            _ = try await checked([Self.iptables, "-w", "10", "-t", "mangle", "-A"] + spec)
        }
    }

    /// - Throws: `.unusable` if no rule is there: the host was started anew, or somebody took them away.
    func read() async throws -> PacketCount {
        let rules = try await rules()
        func sum(_ kind: Kind) throws(DeployError) -> Int64 {
            let packets = rules.filter { $0.spec.contains(comment(kind)) }.map(\.packets)
            guard !packets.isEmpty else {
                throw DeployError(
                    .unusable, "packets of \(mark)",
                    "the rules that count them are gone from the host: nothing is proven")
            }
            return packets.reduce(0, +)
        }
        return PacketCount(
            left: try sum(.left), toHost: try sum(.hostTCP) + sum(.hostOther),
            tried: try sum(.tried))
    }

    /// Takes the rules away. Twice is once.
    func end() async throws {
        for rule in try await rules() {
            _ = try await checked([Self.iptables, "-w", "10", "-t", "mangle", "-D"] + rule.spec)
        }
    }

    // MARK: Rules

    /// As iptables-save prints them.
    private struct Rule {
        /// The chain, then what follows it.
        var spec: [String]
        var packets: Int64
    }

    private func comment(_ kind: Kind) -> String { mark + kind.rawValue }

    private func spec(_ kind: Kind, _ bridge: String, _ subnet: Subnet) -> [String] {
        let begun = ["-m", "conntrack", "--ctstate", "NEW"]
        let match =
            switch kind {
            // What the host begins itself, to reach the databases, is answered, and that is no way out.
            // A TCP packet that is no SYN begins nothing either: it is left over from such a connection.
            case .hostTCP: ["INPUT", "-i", bridge, "-p", "tcp", "--syn"] + begun
            case .hostOther: ["INPUT", "-i", bridge, "!", "-p", "tcp"] + begun
            // The host's own end of the bridge has an address of the block, too.
            case .left:
                ["POSTROUTING", "-s", "\(subnet)", "!", "-o", bridge, "-m", "addrtype", "!", "--src-type", "LOCAL"]
            case .tried: ["PREROUTING", "!", "-d", "\(subnet)", "-i", bridge] + begun
            }
        return match + ["-m", "comment", "--comment", comment(kind)]
    }

    private func rules() async throws -> [Rule] {
        let result = try await checked([Self.save, "-c", "-t", "mangle"])
        return String(decoding: result.output, as: UTF8.self).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ").map(String.init)
            guard words.count > 3, words[1] == "-A", words.contains(where: { $0.hasPrefix(mark) }),
                let packets = words[0].dropFirst().split(separator: ":").first.flatMap({ Int64($0) })
            else { return nil }
            return Rule(spec: Array(words.dropFirst(2)), packets: packets)
        }
    }

    private func checked(_ command: [String]) async throws -> CommandResult {
        let result = try await run(command)
        guard result.status == .exited(0) else {
            throw DeployError(
                .unusable, "packet filter",
                "\(command[0]) failed at the host (\(DockerEngine.printable(result.errorText))): drp must be allowed to run it there"
            )
        }
        return result
    }
}
