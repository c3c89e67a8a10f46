package import DRPKit
package import Foundation

/// What to deploy: one client at the deployer's site.
package struct DeploymentSpec: Sendable, Hashable {
    package var client: ClientID
    /// The client's uuid: a folder that belongs to another uuid is refused.
    package var owner: UUID
    /// The epoch that the client will have once traffic is switched here.
    package var epoch: Int
    /// The run that deploys. The same run finds its own deployment again; another run is refused
    /// if the databases already hold data.
    package var run: String
    /// Program and arguments of the client's API; arguments never hold a secret.
    package var apiCommand: [String]
    /// The port that the API serves at the site's address; in a container, where it listens there.
    package var apiPort: Int
    /// Whether data of another run are taken away; without it they refuse this one.
    package var discardsOld = false
    /// What sites with containers want beside it.
    package var container: ContainerSpec?

    package init(
        client: ClientID, owner: UUID, epoch: Int, run: String, apiCommand: [String], apiPort: Int,
        container: ContainerSpec? = nil
    ) {
        self.client = client
        self.owner = owner
        self.epoch = epoch
        self.run = run
        self.apiCommand = apiCommand
        self.apiPort = apiPort
        self.container = container
    }
}

/// What a client's API needs where it runs as a container behind an edge of its own.
package struct ContainerSpec: Sendable, Hashable {
    /// The API's image, best by digest.
    package var image: String
    /// The names that the edge answers to; one at least. The certificate must hold them.
    package var domains: [String]
    /// PEM: the certificate, then those that lead to its authority.
    package var certificate: String
    /// PEM: the certificate's key.
    package var key: Secret
    /// The application's own, by name; each becomes a file.
    package var secrets: [String: Secret]

    package init(image: String, domains: [String], certificate: String, key: Secret, secrets: [String: Secret] = [:]) {
        self.image = image
        self.domains = domains
        self.certificate = certificate
        self.key = key
        self.secrets = secrets
    }
}

/// One client's stack at one site, as it stands in `deployment.json`. It holds paths of secrets, never secrets.
package struct Deployment: Sendable, Hashable, Codable {
    package enum Phase: String, Sendable, Codable {
        /// Written first, before anything is made.
        case intended
        case complete
    }

    package struct Ports: Sendable, Hashable, Codable {
        package var mongo: Int
        package var redis: Int
        package var api: Int
    }

    /// Where things answer inside the site, as its host sees it; `SiteReach` leads there.
    package struct Inside: Sendable, Hashable, Codable {
        package var mongo: HostPort
        package var redis: HostPort
        package var edge: HostPort
    }

    /// Files of mode 0600 that hold one URI each.
    package struct SecretFiles: Sendable, Hashable, Codable {
        /// For drp itself: may do everything.
        package var mongoForDRP: String
        package var redisForDRP: String
        /// For the client's API, as it sees the databases.
        package var mongoForApp: String
        package var redisForApp: String
    }

    package var format = 1
    package var client: ClientID
    package var owner: UUID
    package var epoch: Int
    package var run: String
    package var site: SiteName
    package var address: String
    package var ports: Ports
    package var folder: String
    package var apiCommand: [String]
    package var secretFiles: SecretFiles
    package var phase: Phase
    /// Of containers, once their networks are made; the URIs for drp hold these addresses. nil at local sites, where
    /// everything answers at `address` and `ports`.
    package var inside: Inside?
    /// The names that an edge answers to.
    package var domains: [String]?
}

/// What stands at the site for a client.
package enum DeploymentState: Sendable, Hashable {
    case absent
    /// Begun and not finished, or finished and not running whole; `missing` names what lacks, for people.
    case partial(Deployment, missing: [String])
    /// Made and running.
    case complete(Deployment)

    /// The deployment, whole or not.
    package var deployment: Deployment? {
        switch self {
        case .absent: nil
        case .partial(let deployment, _), .complete(let deployment): deployment
        }
    }
}

/// Puts clients' stacks on one site and takes them away again. One client is worked on by one caller at
/// a time (the run's lease sees to that); different clients at once are fine.
package protocol Deployer: Sendable {
    /// What `deploy` would do, a line each, with nothing changed.
    func plan(_ spec: DeploymentSpec) async throws -> [String]

    /// What is there. Changes nothing.
    func observe(_ client: ClientID) async throws -> DeploymentState

    /// Makes the client's stack and starts it. Twice is once; after a crash at any point it continues.
    /// - Throws: `DeployError`; `.foreign` for a folder of another owner, `.notEmpty` if another run's
    ///   databases hold data that are not to be discarded.
    func deploy(_ spec: DeploymentSpec) async throws -> Deployment

    /// Starts what does not run of a stack that was deployed.
    func start(_ client: ClientID) async throws -> Deployment

    /// Ends the stack's processes, only those that it started itself, and keeps the data. Twice is once.
    func stop(_ client: ClientID) async throws

    /// As `stop`, and whoever else starts stacks at the site, as its host's guard, leaves this one stopped until `start` or
    /// `deploy`. Twice is once.
    func fence(_ client: ClientID) async throws

    /// Stops and deletes the stack with its data, if it belongs to `owner`. Twice is once.
    func remove(_ client: ClientID, owner: UUID) async throws

    /// What left the networks of a drill's stack since it was made; nil at sites that do not count.
    func packets(of client: ClientID) async throws -> PacketCount?

    /// Tries connections of the client's stack that must not come about; nil at sites where its parts share the host's network.
    func isolation(of client: ClientID) async throws -> IsolationReport?
}

extension Deployer {
    package func fence(_ client: ClientID) async throws { try await stop(client) }
    package func packets(of client: ClientID) async throws -> PacketCount? { nil }
    package func isolation(of client: ClientID) async throws -> IsolationReport? { nil }
}

/// Why a stack could not be made, started or stopped.
package struct DeployError: DRPError {
    package enum Reason: Sendable, Hashable {
        /// The folder belongs to another client's uuid, or to nobody that we know.
        case foreign
        /// The databases there hold data of another run.
        case notEmpty
        case absent
        /// A program cannot be started, or ended at once.
        case notStarted
        /// A process does not answer, or does not end, in time.
        case late
        /// The folder or a file in it cannot be used.
        case unusable
        case settings
    }

    package var reason: Reason
    /// Client, service or path.
    package var subject: String
    package var text: String

    package init(_ reason: Reason, _ subject: String, _ text: String) {
        self.reason = reason
        self.subject = subject
        self.text = text
    }

    package var code: ErrorCode {
        switch reason {
        case .foreign, .notEmpty: .targetNotEmpty
        case .absent, .notStarted: .targetUnreachable
        case .late: .deadlineExceeded
        case .unusable: .targetDenied
        case .settings: .fleetInvalid
        }
    }

    package var message: String { "\(subject): \(text)" }

    package var advice: String {
        switch reason {
        case .foreign: "Nothing was changed. Look at the folder named; move it away if nobody needs it."
        case .notEmpty: "Choose an empty site, or remove the old deployment first."
        case .absent: "Deploy the client to this site first."
        case .notStarted, .late: "Read the log named, mend the cause, then run again: it continues where it stopped."
        case .unusable: "Check the folder's owner, mode and free space."
        case .settings: "Correct the site or the client's services in the fleet file."
        }
    }
}
