package import DRPKit

/// The way from this machine to a place inside a site: a container's address that only the site's host can reach.
package protocol StackReach: Sendable {
    /// May be called from many tasks at once; the same place may be asked for again.
    /// - Parameter place: as the site's host sees it.
    /// - Returns: where to connect to from here, for as long as the reach itself is held.
    func way(to place: HostPort) async throws -> HostPort
}

/// For a site whose host is this machine, or whose networks are routed here.
package struct DirectReach: StackReach {
    package init() {}
    package func way(to place: HostPort) async throws -> HostPort { place }
}
