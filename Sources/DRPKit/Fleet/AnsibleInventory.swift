/// The machines of a fleet as Ansible takes them from an inventory script: hosts behind bastions, groups of sites, variables for the
/// playbooks in `ops/ansible/`. Holds nothing secret.
///
/// Source of the format: Ansible's developer guide, "Developing dynamic inventory".
package struct AnsibleInventory: Sendable, Hashable {
    /// Of sites with `docker`, whose hosts `site.yml` builds.
    static let dockerGroup = "docker_sites"
    static let reserveGroup = "reserve_sites"

    private struct Member: Sendable, Hashable {
        var name: String
        var group: String
        var variables: [String: JSONValue]
    }

    private let members: [Member]
    private let parents: [String: [String]]

    /// - Parameter only: leaves out the other sites' hosts.
    package init(_ fleet: Fleet, only: SiteName? = nil) {
        let sites = fleet.sites.filter { !$0.hosts.isEmpty && (only == nil || $0.name == only) }
        members = sites.flatMap { site in
            site.hosts.map { host in
                Member(
                    name: Self.name(of: host.name, at: site.name), group: Self.group(of: site.name),
                    variables: Self.variables(of: host, at: site, in: fleet))
            }
        }
        parents = [
            Self.dockerGroup: sites.filter { $0.docker != nil }.map { Self.group(of: $0.name) },
            Self.reserveGroup: sites.filter(\.isReserve).map { Self.group(of: $0.name) },
        ]
    }

    /// What `--list` answers.
    package var list: JSONValue {
        var groups: [String: JSONValue] = [
            "_meta": [
                "hostvars": .object(
                    Dictionary(
                        members.map { ($0.name, .object($0.variables)) }, uniquingKeysWith: { first, _ in first }))
            ]
        ]
        for (name, members) in Dictionary(grouping: members, by: \.group) {
            groups[name] = ["hosts": .list(members.map { .text($0.name) })]
        }
        for (name, children) in parents { groups[name] = ["children": .list(children.map { .text($0) })] }
        return .object(groups)
    }

    package var hosts: [String] { members.map(\.name) }

    /// The same as a file for `ansible-playbook --inventory`, which it takes for one by the end `.json` of its name.
    /// - Parameter changes: Variables of hosts that take the place of those from the fleet file; `null` takes one away.
    package func file(_ changes: [String: [String: JSONValue]]) -> JSONValue {
        var groups: [String: JSONValue] = [:]
        for (name, members) in Dictionary(grouping: members, by: \.group) {
            let hosts = members.map { member in
                let variables = member.variables.merging(changes[member.name] ?? [:]) { $1 }
                return (member.name, JSONValue.object(variables.filter { $0.value != .null }))
            }
            groups[name] = ["hosts": .object(Dictionary(hosts, uniquingKeysWith: { first, _ in first }))]
        }
        for (name, children) in parents {
            groups[name] = [
                "children": .object(Dictionary(children.map { ($0, [:]) }, uniquingKeysWith: { first, _ in first }))
            ]
        }
        return ["all": ["children": .object(groups)]]
    }

    /// What `--host NAME` answers; nil if there is no such host.
    package func host(_ name: String) -> JSONValue? {
        members.first { $0.name == name }.map { .object($0.variables) }
    }

    /// Names of hosts are a site's own; a site's name holds no dot.
    package static func name(of host: String, at site: SiteName) -> String { "\(host).\(site)" }

    /// Ansible wants names of groups to be those of Python's variables; a site's name holds no underscore.
    package static func group(of site: SiteName) -> String {
        "site_" + site.text.map { $0 == "-" ? "_" : String($0) }.joined()
    }

    private static func variables(of host: Site.Host, at site: Site, in fleet: Fleet) -> [String: JSONValue] {
        var variables: [String: JSONValue] = [
            "ansible_host": .text(host.address), "ansible_port": .integer(Int64(host.port)),
            "drp_ssh_port": .integer(Int64(host.port)), "drp_host_principals": [.text(host.address)],
            "drp_site": .text(site.name.text), "drp_frontends": .list(site.frontends.map { .text($0.address) }),
        ]
        if let bastion = site.bastion {
            let account = host.user ?? bastion.user
            let place = HostPort(host: bastion.address, port: bastion.port)
            variables["ansible_user"] = .text(account)
            variables["ansible_ssh_common_args"] = .text("-o ProxyJump=\(bastion.user)@\(place)")
            variables["drp_account"] = .text(account)
            variables["drp_principals"] = [.text(bastion.principal ?? bastion.user)]
            variables["drp_host_authorities"] = .list(bastion.authorities.map { .text($0) })
        }
        if let docker = site.docker {
            // A client of any site may come here one day.
            let apis = fleet.clients.compactMap { client -> String? in
                if case .image(let name) = client.services.api?.launch { name } else { nil }
            }
            var seen: Set<String> = []
            variables["drp_images"] = .list(
                ([docker.mongo, docker.redis, docker.edge] + apis).filter { seen.insert($0).inserted }
                    .map { .text($0) })
        }
        return variables
    }
}
