package import DRPKit

/// What was tried inside the networks of a client's containers.
package struct IsolationReport: Sendable, Hashable, Codable {
    /// Connections that must not come about.
    package var tried: Int
    /// Those that did, a sentence each.
    package var breaches: [String]
}

extension DockerDeployer {
    /// So many other clients of the host are tried: all of a site's are never needed to see a hole.
    private static let neighbours = 6
    private static let nsenter = "/usr/bin/nsenter"

    /// Tries connections from inside the containers' networks, by programs of the host: between the client's own databases, and to
    /// those of other clients. What must work is tried beside it, so that nothing is proven by a trial that cannot succeed.
    package func isolation(of client: ClientID) async throws -> IsolationReport? {
        guard let deployment = try folder(of: client).read(), let inside = deployment.inside else { return nil }
        let inventory = try await DockerInventory(engine, names(of: client))
        var pids: [DockerRole: Int64] = [:]
        for role in DockerRole.allCases {
            guard let container = inventory.container(role), let pid = try await engine.pid(of: container.id) else {
                throw DeployError(.notStarted, "container \(inventory.names.container(role))", "it does not run")
            }
            pids[role] = pid
        }
        for place in [inside.mongo, inside.redis] where try await !connects(pids[.api], to: place) {
            throw DeployError(
                .notStarted, "api of \(client)",
                "it does not reach \(place) of its own, or the trial does not work at the host")
        }
        var trials: [(DockerRole, HostPort, String)] = [
            (.redis, inside.mongo, "its own MongoDB"), (.mongo, inside.redis, "its own Redis"),
            (.edge, inside.mongo, "its own MongoDB"), (.edge, inside.redis, "its own Redis"),
        ]
        for (name, place) in try await neighbours(of: client) {
            for role in DockerRole.allCases { trials.append((role, place, name)) }
        }
        let sides = pids
        let breaches = try await withThrowingTaskGroup(of: String?.self) { group in
            for (role, place, name) in trials {
                group.addTask {
                    try await connects(sides[role], to: place)
                        ? "its \(role.rawValue) reaches \(name) at \(place)" : nil
                }
            }
            return try await group.reduce(into: [String]()) { found, breach in if let breach { found.append(breach) } }
        }
        return IsolationReport(tried: trials.count, breaches: breaches.sorted())
    }

    /// Databases of other clients that run on the host, those of drills and, for a drill, the client's own production among them.
    private func neighbours(of client: ClientID) async throws -> [(name: String, place: HostPort)] {
        let own = names(of: client).prefix
        let all = try await engine.containers(namePrefix: "drp_") + engine.containers(namePrefix: "drill_")
        let others = all.filter { container in
            container.isRunning && !container.names.contains { $0.hasPrefix("/\(own)") }
        }
        let places = others.flatMap { container -> [(String, HostPort)] in
            guard let name = container.names.first?.dropFirst() else { return [] }
            let ports = [("_mongo", DockerFiles.mongoPort), ("_redis", DockerFiles.redisPort)]
            guard let port = ports.first(where: { name.hasSuffix($0.0) })?.1 else { return [] }
            return container.addresses.map { (DockerEngine.printable(String(name)), HostPort(host: $0, port: port)) }
        }
        return Array(places.sorted { $0.0 < $1.0 }.prefix(Self.neighbours))
    }

    /// Whether a connection from inside a process's network comes about within a second.
    private func connects(_ pid: Int64?, to place: HostPort) async throws -> Bool {
        // A host is an address that the engine or drp itself has given: nothing of it can be more to a shell.
        guard let pid, Subnet("\(place.host)/32") != nil else { return false }
        let result = try await host([
            Self.nsenter, "--net=/proc/\(pid)/ns/net", "/usr/bin/timeout", "1", "/bin/bash", "-c",
            "echo inside; exec 3<>/dev/tcp/\(place.host)/\(place.port)",
        ])
        // Without the word, the trial never came into the container's network, and proves nothing.
        guard result.outputText.hasPrefix("inside") else {
            throw DeployError(
                .unusable, Self.nsenter,
                "it failed at the host (\(DockerEngine.printable(result.errorText))): drp must be allowed to run it there"
            )
        }
        switch result.status {
        case .exited(0): return true
        // Refused or without a way, or no answer in time.
        default: return false
        }
    }
}
