internal import DRPKit

/// What a Docker engine says of its objects: the fields that are used here.
enum DockerObject {
    struct Container: Decodable, Sendable {
        var id: String
        /// Each begins with `/`.
        var names: [String]
        var labels: [String: String]?
        /// `created`, `running`, `exited`, `paused`, `restarting`, `removing`, `dead`.
        var state: String
        /// For people; ends in `(unhealthy)` where a health check fails.
        var status: String
        private var settings: Settings?

        var isRunning: Bool { state == "running" }
        var isUnhealthy: Bool { status.hasSuffix("(unhealthy)") }
        /// Names of the networks that it is a member of.
        var networks: Set<String> { Set(settings?.networks?.keys.map { $0 } ?? []) }
        /// In its networks, of those that have one now.
        var addresses: [String] {
            settings?.networks?.values.compactMap(\.address).filter { !$0.isEmpty }.sorted() ?? []
        }

        private struct Settings: Decodable {
            struct Endpoint: Decodable {
                var address: String?
                private enum CodingKeys: String, CodingKey { case address = "IPAddress" }
            }
            var networks: [String: Endpoint]?
            private enum CodingKeys: String, CodingKey { case networks = "Networks" }
        }

        private enum CodingKeys: String, CodingKey {
            case id = "Id"
            case names = "Names"
            case labels = "Labels"
            case state = "State"
            case status = "Status"
            case settings = "NetworkSettings"
        }
    }

    struct Network: Decodable, Sendable {
        var id: String
        var name: String
        var labels: [String: String]?
        private var addresses: Addresses?

        var subnets: [Subnet] { (addresses?.blocks ?? []).compactMap { $0.subnet.flatMap(Subnet.init) } }

        private struct Addresses: Decodable {
            struct Block: Decodable {
                var subnet: String?
                private enum CodingKeys: String, CodingKey { case subnet = "Subnet" }
            }
            var blocks: [Block]?
            private enum CodingKeys: String, CodingKey { case blocks = "Config" }
        }

        private enum CodingKeys: String, CodingKey {
            case id = "Id"
            case name = "Name"
            case labels = "Labels"
            case addresses = "IPAM"
        }
    }

    struct Volume: Decodable, Sendable {
        var name: String
        var labels: [String: String]?

        private enum CodingKeys: String, CodingKey {
            case name = "Name"
            case labels = "Labels"
        }
    }

    struct Volumes: Decodable, Sendable {
        var volumes: [Volume]?
        private enum CodingKeys: String, CodingKey { case volumes = "Volumes" }
    }

    struct Running: Decodable, Sendable {
        struct State: Decodable, Sendable {
            var pid: Int64
            private enum CodingKeys: String, CodingKey { case pid = "Pid" }
        }
        var state: State
        private enum CodingKeys: String, CodingKey { case state = "State" }
    }

    struct Named: Decodable, Sendable {
        var id: String
        private enum CodingKeys: String, CodingKey { case id = "Id" }
    }
}

extension DockerEngine {
    /// All containers, also those that do not run, whose name begins so.
    func containers(namePrefix: String) async throws -> [DockerObject.Container] {
        let act = "list containers"
        let answer = try await send(
            act, .get, ["containers", "json"], ["all": "1", "filters": Self.filter("^/\(namePrefix)")])
        return try decode([DockerObject.Container].self, act, answer).filter {
            $0.names.contains { $0.hasPrefix("/\(namePrefix)") }
        }
    }

    /// Of a container's first process on the host; nil if it does not run.
    func pid(of id: String) async throws -> Int64? {
        let act = "look at container \(id.prefix(12))"
        let answer = try await send(act, .get, ["containers", id, "json"])
        let pid = try decode(DockerObject.Running.self, act, answer).state.pid
        return pid > 0 ? pid : nil
    }

    func networks() async throws -> [DockerObject.Network] {
        let act = "list networks"
        return try decode([DockerObject.Network].self, act, try await send(act, .get, ["networks"]))
    }

    func volumes(namePrefix: String) async throws -> [DockerObject.Volume] {
        let act = "list volumes"
        let answer = try await send(act, .get, ["volumes"], ["filters": Self.filter(namePrefix)])
        return try decode(DockerObject.Volumes.self, act, answer).volumes?.filter { $0.name.hasPrefix(namePrefix) }
            ?? []
    }

    /// - Returns: its id, or nil if it is not on the host.
    func image(_ name: String) async throws -> String? {
        let act = "look for the image \(name)"
        // The slashes of a name are part of the path.
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard !parts.contains(where: { ["", ".", ".."].contains($0) }) else { return nil }
        return try await sendIfThere(act, .get, ["images"] + parts + ["json"]).map {
            try decode(DockerObject.Named.self, act, $0).id
        }
    }

    /// Names of clients hold nothing that a regular expression or JSON would take for more.
    private static func filter(_ name: String) -> String { "{\"name\":[\"\(name)\"]}" }
}
