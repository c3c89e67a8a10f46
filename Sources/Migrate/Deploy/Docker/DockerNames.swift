internal import DRPKit
internal import Foundation

/// The containers of a client's stack, in the order in which they start.
enum DockerRole: String, CaseIterable, Sendable {
    case mongo, redis, api, edge
}

/// The networks of a client's stack. Only the API is a member of all: Redis and MongoDB never meet.
enum DockerNetworkRole: String, CaseIterable, Sendable {
    /// API and edge; the way out, and the only one with published ports.
    case edge
    /// API and MongoDB; without a way out.
    case mongo
    /// API and Redis; without a way out.
    case redis
}

/// The volumes of a client's stack: data, and what each container is given to read (configuration and secrets).
enum DockerVolumeRole: String, CaseIterable, Sendable {
    case mongoData = "mongo-data"
    case redisData = "redis-data"
    case mongoFiles = "mongo-files"
    case redisFiles = "redis-files"
    case apiFiles = "api-files"
    case edgeFiles = "edge-files"

    var isData: Bool { self == .mongoData || self == .redisData }

    static func files(of role: DockerRole) -> DockerVolumeRole {
        switch role {
        case .mongo: .mongoFiles
        case .redis: .redisFiles
        case .api: .apiFiles
        case .edge: .edgeFiles
        }
    }
}

/// What the objects of one client are called: `drp_<client>_<role>`, those of a drill `drill_<client>_<role>`. A client's name
/// holds no underscore, so no name of one client begins like those of another.
struct DockerNames: Sendable {
    let client: ClientID
    let isDrill: Bool

    init(client: ClientID, isDrill: Bool = false) {
        self.client = client
        self.isDrill = isDrill
    }

    var prefix: String { "\(isDrill ? "drill" : "drp")_\(client)_" }
    func container(_ role: DockerRole) -> String { prefix + role.rawValue }
    func network(_ role: DockerNetworkRole) -> String { prefix + role.rawValue }
    func volume(_ role: DockerVolumeRole) -> String { prefix + role.rawValue }
    /// An empty volume that says: this stack is fenced, and whoever starts containers here leaves it stopped.
    var fence: String { prefix + "fenced" }
    /// Never started: through it, files are put into volumes.
    var courier: String { prefix + "courier" }

    /// Of the network's bridge on the host: `drp` and 12 hex digits, within the 15 bytes of IFNAMSIZ. One firewall rule for
    /// `drp+` holds for all of them.
    func bridge(_ role: DockerNetworkRole) -> String {
        "drp" + ContentHash(hashing: Array(network(role).utf8)).description.prefix(12)
    }
}

/// Whose an object is. Nothing is touched without these labels.
enum DockerLabels {
    static let client = "drp.client"
    static let owner = "drp.owner"
    static let site = "drp.site"
    static let run = "drp.run"
    static let epoch = "drp.epoch"
    static let role = "drp.role"
    /// The client's, for who has no fleet file; with a space between two.
    static let domains = "drp.domains"
    /// Of a container: hash of what it was made of.
    static let digest = "drp.digest"

    static func of(_ deployment: Deployment, role: String) -> [String: JSONValue] {
        [
            client: .text(deployment.client.text), owner: .text(deployment.owner.uuidString.lowercased()),
            site: .text(deployment.site.text), run: .text(deployment.run), epoch: .text("\(deployment.epoch)"),
            Self.role: .text(role), domains: .text((deployment.domains ?? []).joined(separator: " ")),
        ]
    }

    /// Whether labels are those of a client at a site, of whichever run.
    /// - Parameter owner: nil: of whichever owner.
    static func mark(_ labels: [String: String]?, _ client: ClientID, _ owner: UUID?, _ site: SiteName) -> Bool {
        guard let labels, labels[Self.client] == client.text, labels[Self.site] == site.text,
            let marked = labels[Self.owner].flatMap({ UUID(uuidString: $0) })
        else { return false }
        return owner == nil || marked == owner
    }
}
