internal import Backup
package import DRPKit

/// Keeps one side of a client from taking writes, and lets it take them again: its databases refuse applications, and where a
/// deployer reaches the site, its stack is stopped.
package struct Fence: Sendable {
    /// What came of it, a sentence each.
    package struct Outcome: Sendable, Codable, Hashable {
        package var fenced: [String] = []
        /// What may still take writes, and why.
        package var open: [String] = []
        var isStopped = false

        /// A stack that is stopped has no databases that could refuse anything.
        package var isClosed: Bool { open.isEmpty || isStopped }
    }

    let world: StepWorld
    let client: ClientID
    let site: Site
    let databases: @Sendable () async throws -> ClientDatabases

    init(
        _ world: StepWorld, client: ClientID, at site: Site,
        databases: @escaping @Sendable () async throws -> ClientDatabases
    ) {
        self.world = world
        self.client = client
        self.site = site
        self.databases = databases
    }

    /// A client's side at a site, by what is known of it: where it lives, what stands there of an earlier run, or what the fleet
    /// file says of the place where it lived first.
    package init(_ world: StepWorld, client: Client, at site: Site) {
        self.init(world, client: client.id, at: site) {
            let place = try await world.place(client)
            if place.site == site.name || client.site == site.name {
                let services = place.site == site.name ? place.services : client.services
                let host = place.site == site.name ? place.host : client.host
                return try await ClientDatabases(
                    services, side: .source, resolver: world.resolver, way: world.reach.way(into: site.name, host: host)
                )
            }
            // A site that drp does not deploy to has nothing of it.
            guard let left = try await world.deployer(site, .real).observe(client.id).deployment else {
                throw DeployError(.absent, "client \(client.id)", "nothing of it is at site \(site.name)")
            }
            return try await world.databases(left)
        }
    }

    package func close() async -> Outcome {
        var outcome = Outcome()
        do {
            try await WriteBlock(try await databases()).set(true)
            outcome.fenced.append("databases refuse applications")
        } catch {
            outcome.open.append("databases: \(Fault(error).text)")
        }
        Failpoint.hit("fence.blocked")
        // A site that drp does not deploy to has no stack of ours.
        guard let deployer = try? world.deployer(site, .real) else { return outcome }
        do {
            if try await deployer.observe(client).deployment != nil {
                try await deployer.fence(client)
                outcome.fenced.append("stack stopped")
                outcome.isStopped = true
            }
        } catch {
            outcome.open.append("stack: \(Fault(error).text)")
        }
        return outcome
    }

    /// Starts what stands there.
    package func start() async throws {
        guard let deployer = try? world.deployer(site, .real) else { return }  // As above.
        if try await deployer.observe(client).deployment != nil { _ = try await deployer.start(client) }
    }

    /// - Throws: what the databases say; then applications may still be refused.
    package func unblock() async throws { try await WriteBlock(try await databases()).set(false) }
}
