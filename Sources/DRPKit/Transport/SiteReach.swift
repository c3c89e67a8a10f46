/// How servers inside the sites are reached from here: directly, or through something that stands before them.
package struct SiteReach: Sendable {
    /// Makes a unix socket here that leads to an address inside a site.
    package typealias Way = @Sendable (_ address: HostPort) async throws -> String

    /// Every address is reached as it is.
    package static let direct = SiteReach { _, _ in nil }

    private let find: @Sendable (SiteName, String?) -> Way?

    /// - Parameter find: the way into a site, to what is on that host; nil for a site that needs none.
    package init(_ find: @escaping @Sendable (_ site: SiteName, _ host: String?) -> Way?) { self.find = find }

    /// - Returns: nil where addresses of the site are reached as they are.
    package func way(into site: SiteName, host: String? = nil) -> Way? { find(site, host) }
}

extension SSHTransport {
    /// Through the bastion where a site has one, over the host that is named, that has the address, or that is the only one.
    package nonisolated var reach: SiteReach {
        SiteReach { site, host in
            guard self.leads(to: site) else { return nil }
            return { address in
                try await self.host(site, named: host, for: address.host).forward(to: .tcp(address))
            }
        }
    }
}
