internal import Foundation

/// The ways by SSH into all sites of a fleet, for one process: it has one key, and closes everything at its end.
package actor SSHTransport {
    private let sites: [SiteName: SSHSite]
    private let audit: SSHAudit
    private let clock: any WallClock
    private let environment: [String: String]
    private let runner: CommandRunner
    private var means: Task<SSHMeans, any Error>?
    private var credentials: [SiteName: SSHCredentials] = [:]
    private var hosts: [Key: SSHHost] = [:]
    private var isClosed = false

    private struct Key: Hashable {
        var site: SiteName
        var host: String
    }

    /// Does nothing yet: the key is made at the first use.
    /// - Parameter environment: where `XDG_RUNTIME_DIR` is looked up.
    package init(
        sites: [SSHSite], audit: SSHAudit, clock: any WallClock,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) {
        self.sites = Dictionary(sites.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        self.audit = audit
        self.clock = clock
        self.environment = environment
        runner = CommandRunner(environment: environment, clock: clock)
    }

    /// A host of a site, the same for all who ask. Does not connect yet.
    /// - Parameters:
    ///   - name: as in the fleet file; may be left out at a site with one host.
    ///   - address: helps to find the host, where it is the host's own.
    package func host(_ site: SiteName, named name: String? = nil, for address: String? = nil) async throws -> SSHHost {
        let way = try way(into: site)
        return try await host(try way.host(named: name, for: address), way)
    }

    /// The bastion itself, to try it: it gives no shell, and forwards to hosts alone.
    package func bastion(_ site: SiteName) async throws -> SSHHost {
        let way = try way(into: site)
        return try await host(way.bastion, way)
    }

    /// A site's certificate as it is now, fetched if need be.
    package func certificate(_ site: SiteName) async throws -> SSHCertificate {
        try await credentials(of: try way(into: site)).certificate()
    }

    /// Whether addresses of the site are reached through a bastion.
    package nonisolated func leads(to site: SiteName) -> Bool { sites[site] != nil }

    /// Ends all connections and deletes key and certificates. For the end of the process: no connection is made afterwards.
    package func close() async {
        isClosed = true
        // What could not be made needs no end.
        let made = try? await means?.value
        let open = hosts.values
        await withTaskGroup(of: Void.self) { group in
            for host in open { group.addTask { await host.close() } }
        }
        hosts = [:]
        credentials = [:]
        means = nil
        made?.folder.remove()
    }

    private func way(into site: SiteName) throws -> SSHSite {
        guard let way = sites[site] else { throw SSHError(.settings("it has no bastion in the fleet file"), site) }
        return way
    }

    private func host(_ endpoint: SSHSite.Endpoint, _ way: SSHSite) async throws -> SSHHost {
        let key = Key(site: way.name, host: endpoint.name)
        if let host = hosts[key] { return host }
        let (means, credentials) = (try await readyMeans(for: way.name), try await credentials(of: way))
        if let host = hosts[key] { return host }
        let host = SSHHost(endpoint, way, means, credentials)
        hosts[key] = host
        return host
    }

    private func credentials(of way: SSHSite) async throws -> SSHCredentials {
        if let known = credentials[way.name] { return known }
        let means = try await readyMeans(for: way.name)
        if let known = credentials[way.name] { return known }
        let made = SSHCredentials(
            site: way, folder: means.folder, key: means.key, runner: runner, clock: clock, audit: audit)
        credentials[way.name] = made
        return made
    }

    private func readyMeans(for site: SiteName) async throws -> SSHMeans {
        if isClosed { throw SSHError(.closed, site) }
        let task =
            means
            ?? Task { [environment, clock, runner, audit] in
                try await SSHMeans.make(environment: environment, clock: clock, runner: runner, audit: audit)
            }
        means = task
        do { return try await task.value } catch {
            means = nil
            switch error {
            case let error as SSHFolderError: throw SSHError(.noPrivateMemory(error.cause), site)
            case let error as SSHKeyError:
                throw SSHError(error.isMissing ? .noProgram("ssh-keygen") : .noPrivateMemory(error.cause), site)
            default: throw error
            }
        }
    }
}

/// What all connections of a process share.
struct SSHMeans: Sendable {
    let folder: SSHFolder
    let key: SSHKey
    let runner: CommandRunner
    let clock: any WallClock
    let audit: SSHAudit

    static func make(
        environment: [String: String], clock: any WallClock, runner: CommandRunner, audit: SSHAudit
    ) async throws -> SSHMeans {
        let folder = try await OwnThread.run("ssh-folder") { try SSHFolder(environment: environment) }
        let key = try await SSHKey.make(in: folder, runner)
        return SSHMeans(folder: folder, key: key, runner: runner, clock: clock, audit: audit)
    }

    /// The authorities of a site, as OpenSSH reads them.
    func knownHosts(of site: SSHSite) throws(SSHError) -> String {
        let path = "\(folder.path)/known-\(site.name)"
        let text = site.authorities.map { "@cert-authority * \($0)\n" }.joined()
        do throws(FileError) {
            try AtomicFile.write(path, Array(text.utf8), mode: 0o600, .replace)
            return path
        } catch { throw SSHError(.noPrivateMemory(error.message), site.name) }
    }
}
