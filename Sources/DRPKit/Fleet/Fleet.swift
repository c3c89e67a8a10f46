/// Everything that one `fleet.yaml` (or a folder of them) describes; a value that was checked as a whole.
///
/// Lists keep the order of the file, and their names are unique. Paths are absolute. References
/// (a client's site, a policy's stores) lead somewhere: `FleetValidator` saw to it.
package struct Fleet: Sendable, Hashable {
    package var name: String
    /// The folder of journal, writer keys and caches.
    package var state: String
    /// Where drp itself runs.
    package var site: SiteName
    /// `drp1…`: who can open the backups; two at least.
    package var recovery: [String]
    package var sites: [Site]
    package var stores: [StoreSettings]
    package var policies: [Policy]
    package var environments: [ClientEnvironment]
    package var clients: [Client]
    package var traffic: TrafficSettings?
    package var notices: NoticeSettings?

    package func site(_ name: SiteName) -> Site? { sites.first { $0.name == name } }
    package func store(_ name: StoreName) -> StoreSettings? { stores.first { $0.name == name } }
    package func policy(_ name: PolicyName) -> Policy? { policies.first { $0.name == name } }
    package func environment(_ name: EnvironmentName) -> ClientEnvironment? { environments.first { $0.name == name } }
    package func client(_ id: ClientID) -> Client? { clients.first { $0.id == id } }

    /// The policy of a client: its own, else that of its environment.
    package func policy(of client: Client) -> Policy? {
        (client.policy ?? environment(client.environment)?.policy).flatMap(policy)
    }

    /// The stores of a client's policy, in the order of the file.
    package func stores(of client: Client) -> [StoreSettings] {
        policy(of: client)?.stores.compactMap(store) ?? []
    }

    /// What a client was promised: each objective its own, else that of its environment.
    package func objectives(of client: Client) -> Objectives {
        let inherited = environment(client.environment)?.objectives ?? Objectives()
        return Objectives(
            rpo: client.objectives.rpo ?? inherited.rpo, rto: client.objectives.rto ?? inherited.rto,
            availability: client.objectives.availability ?? inherited.availability)
    }

    /// Clients in the order of a failover: by priority, then by id.
    package var clientsByPriority: [Client] { clients.sorted { ($0.priority, $0.id) < ($1.priority, $1.id) } }
}

package struct PolicyName: FleetName {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

package struct EnvironmentName: FleetName {
    package let text: String
    package init(unchecked text: String) { self.text = text }
}

extension Fleet {
    /// What stands in the file and is read and checked, but does nothing yet in this version.
    package func inactiveParts() -> [String] {
        var parts: [String] = []
        for policy in policies {
            if policy.log != nil { parts.append("policies.\(policy.name).log") }
        }
        for client in clients {
            if !client.contacts.isEmpty { parts.append("clients.\(client.id).contacts") }
            // Wherever it lives now: a client moves to any site.
            guard !sites.contains(where: { $0.docker != nil }) else { continue }
            if case .image = client.services.api?.launch { parts.append("clients.\(client.id).services.api.image") }
            if client.services.api?.secrets.isEmpty == false {
                parts.append("clients.\(client.id).services.api.secrets")
            }
            if client.certificate != nil { parts.append("clients.\(client.id).certificate") }
        }
        if notices != nil { parts.append("notices") }
        return parts
    }
}
