internal import DRPKit
internal import Foundation

/// What stands at a site under the names of one client.
struct DockerInventory: Sendable {
    let names: DockerNames
    let containers: [DockerObject.Container]
    let networks: [DockerObject.Network]
    let volumes: [DockerObject.Volume]
    /// Of all networks of the host, also of others.
    let takenSubnets: [Subnet]

    init(_ engine: DockerEngine, _ names: DockerNames) async throws {
        self.names = names
        containers = try await engine.containers(namePrefix: names.prefix)
        let all = try await engine.networks()
        networks = all.filter { $0.name.hasPrefix(names.prefix) }
        takenSubnets = all.flatMap(\.subnets)
        volumes = try await engine.volumes(namePrefix: names.prefix)
    }

    func container(_ role: DockerRole) -> DockerObject.Container? { container(named: names.container(role)) }
    var courier: DockerObject.Container? { container(named: names.courier) }
    func network(_ role: DockerNetworkRole) -> DockerObject.Network? {
        networks.first { $0.name == names.network(role) }
    }
    func volume(_ role: DockerVolumeRole) -> DockerObject.Volume? { volumes.first { $0.name == names.volume(role) } }

    var isFenced: Bool { volumes.contains { $0.name == names.fence } }

    private func container(named name: String) -> DockerObject.Container? {
        containers.first { $0.names.contains("/\(name)") }
    }

    /// Those that bear a name of the stack; others that merely begin so are nobody's business here.
    private var named: [(kind: String, name: String, labels: [String: String]?)] {
        DockerRole.allCases.compactMap { role in
            container(role).map { ("container", names.container(role), $0.labels) }
        } + [courier.map { ("container", names.courier, $0.labels) }].compactMap { $0 }
            + DockerNetworkRole.allCases.compactMap { role in network(role).map { ("network", $0.name, $0.labels) } }
            + DockerVolumeRole.allCases.compactMap { role in volume(role).map { ("volume", $0.name, $0.labels) } }
            + volumes.filter { $0.name == names.fence }.map { ("volume", $0.name, $0.labels) }
    }

    var isEmpty: Bool { named.isEmpty }

    /// - Parameter owner: nil: of whichever owner.
    /// - Throws: `.foreign` for the first object that does not bear the client's labels.
    func check(owner: UUID?, site: SiteName) throws(DeployError) {
        for object in named where !DockerLabels.mark(object.labels, names.client, owner, site) {
            let whose = object.labels?[DockerLabels.owner].map(DockerEngine.printable)
            throw DeployError(
                .foreign, "\(object.kind) \(object.name)",
                whose.map { "it belongs to the owner \($0) or to another site" } ?? "drp did not make it")
        }
    }

    /// The labels of any object, for the run that made it.
    var labels: [String: String]? { named.lazy.compactMap(\.labels).first }
}
