package import DRPKit

/// A site whose clients run as containers of one host's Docker engine.
package struct DockerSite: Sendable, Hashable {
    /// Names of images, best by digest.
    package struct Images: Sendable, Hashable {
        /// With `mongod`; `bash` for its health check.
        package var mongo: String
        /// With `redis-server`, and `redis-cli` for its health check.
        package var redis: String
        /// With `haproxy`; `bash` for its health check.
        package var edge: String

        package init(mongo: String, redis: String, edge: String) {
            self.mongo = mongo
            self.redis = redis
            self.edge = edge
        }
    }

    package var name: SiteName
    /// Absolute; `<folder>/<client>` holds drp's own files of a deployment: the record, and secrets (0600).
    package var folder: String
    /// IPv4 addresses of the host at which clients are published, one for each client.
    package var addresses: [String]
    package var images: Images
    /// Out of which the clients' networks get theirs, 16 addresses each.
    package var subnets: Subnet
    /// Stacks of drills: beside production, under names of their own, without a way out and published nowhere.
    package var isDrill = false
    package var mongoCacheMiB = 256
    package var memory = Memory()
    package var startDeadline = Duration.seconds(60)
    /// How long a container may take to end before it is killed.
    package var stopDeadline = Duration.seconds(20)

    /// The most that a container may use; one that wants more is ended by the kernel.
    package struct Memory: Sendable, Hashable {
        package var mongo = ByteCount(1 << 30)
        package var redis = ByteCount(512 << 20)
        package var api = ByteCount(512 << 20)
        package var edge = ByteCount(128 << 20)
    }

    package static let defaultSubnets = Subnet(base: 10 << 24 | 213 << 16, length: 16)

    package init(
        name: SiteName, folder: String, addresses: [String], images: Images, subnets: Subnet = defaultSubnets
    ) {
        self.name = name
        self.folder = folder
        self.addresses = addresses
        self.images = images
        self.subnets = subnets
    }
}
