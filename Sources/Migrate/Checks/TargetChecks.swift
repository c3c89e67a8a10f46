internal import DRPKit

/// What a target must show before traffic is sent to it, beside its data. Nothing of DNS is asked: the target itself is.
struct TargetChecks: Sendable {
    enum Kind: String, CaseIterable, Sendable {
        /// Its API answers 200 and as this client, by HTTPS where the site has an edge.
        case api
        /// The edge has no certificate for a name that is not the client's.
        case tls
        /// HTTP leads to HTTPS.
        case redirect
        /// Nothing listens at its address but 80 and 443.
        case ports
        /// Nothing of it reaches what it must not, tried inside its containers' networks.
        case isolation
    }

    /// What must never be open to the world: MongoDB, Redis, Docker, and the ports inside the containers.
    static let closedPorts = [27_017, 27_018, 6379, 2375, 2376, DockerFiles.plainPort, DockerFiles.tlsPort]

    let world: StepWorld
    let client: Client
    let site: Site
    let deployment: Deployment
    let isDrill: Bool

    /// - Returns: what was found, a sentence for each check that the site has.
    /// - Throws: `TargetCheckError` for the first that is not as it must be.
    func run(_ kinds: [Kind]) async throws -> [String] {
        try await withThrowingTaskGroup(of: (Int, String?).self) { group in
            for (index, kind) in kinds.enumerated() { group.addTask { (index, try await run(kind)) } }
            var found: [Int: String] = [:]
            for try await (index, sentence) in group { found[index] = sentence }
            return found.sorted { $0.key < $1.key }.map(\.value)
        }
    }

    /// - Returns: nil where the site has no such thing.
    private func run(_ kind: Kind) async throws -> String? {
        guard client.services.api != nil, let domain = client.domains.first else { return nil }
        switch kind {
        case .api: return try await api(domain)
        case .tls: return try await tls()
        case .redirect: return try await redirect(domain)
        case .ports: return try await ports()
        case .isolation: return try await isolation()
        }
    }

    private var isPublished: Bool { site.docker != nil && !isDrill }

    /// Where the client's edge or API is asked: as everybody asks it, but for a drill, which is published nowhere.
    private func door() async throws -> (scheme: HTTPCheck.Scheme, port: Int, address: String, socket: String?) {
        guard site.docker != nil else { return (.http, deployment.ports.api, deployment.address, nil) }
        let https = HTTPCheck.Scheme.https(caFile: client.certificate?.ca)
        guard isDrill, let edge = deployment.inside?.edge else { return (https, 443, deployment.address, nil) }
        return (https, edge.port, edge.host, try await world.reach.way(into: site.name)?(edge))
    }

    private func api(_ domain: String) async throws -> String {
        let door = try await door()
        let answer = try await HTTPCheck(world.http).run(
            door.scheme, domain: domain, port: door.port, address: door.address, socket: door.socket, client: client.id)
        return "api: \(answer.status) from \(answer.address) as \(client.id)"
    }

    private func tls() async throws -> String? {
        guard site.docker != nil else { return nil }
        let door = try await door()
        // A name that no certificate can hold, wildcards included (RFC 6761, 6.4).
        let other = "drp-check.invalid"
        var request = HTTPRequest(url: "https://\(other):\(door.port)/")
        request.caFile = client.certificate?.ca
        request.unixSocket = door.socket
        if door.socket == nil { request.route = .init(host: other, port: door.port, address: door.address) }
        do { _ = try await world.http.send(request) } catch let error as HTTPError where error.reason == .untrusted {
            return "tls: no handshake for other names"
        }
        throw TargetCheckError(client.id, .tls, "the edge answers for \(other), which is not this client's name")
    }

    private func redirect(_ domain: String) async throws -> String? {
        guard isPublished else { return nil }
        var request = HTTPRequest(url: "http://\(domain)/")
        request.route = .init(host: domain, port: 80, address: deployment.address)
        let answer = try await world.http.send(request)
        guard [301, 308].contains(answer.status), answer.header("Location")?.hasPrefix("https://\(domain)/") == true
        else {
            throw TargetCheckError(
                client.id, .redirect, "HTTP is answered with \(answer.status) instead of a redirect to HTTPS")
        }
        return "redirect: \(answer.status) from HTTP to HTTPS"
    }

    private func ports() async throws -> String? {
        guard isPublished else { return nil }
        // Inside its container the API may well listen at one of the edge's own.
        let wanted = Set(Self.closedPorts + [deployment.ports.api]).subtracting([80, 443])
        let open = try await withThrowingTaskGroup(of: Int?.self) { group in
            for port in wanted {
                group.addTask { try await TCPProbe.isOpen(deployment.address, port) ? port : nil }
            }
            return try await group.reduce(into: [Int]()) { open, port in if let port { open.append(port) } }
        }
        guard open.isEmpty else {
            let list = open.sorted().map(String.init).joined(separator: ", ")
            throw TargetCheckError(client.id, .ports, "open to the world at \(deployment.address): \(list)")
        }
        return "ports: \(wanted.count) that must be closed are"
    }

    private func isolation() async throws -> String? {
        let mode: RunMode = isDrill ? .drill : .real
        guard let report = try await world.deployer(site, mode).isolation(of: client.id) else { return nil }
        guard report.breaches.isEmpty else {
            throw TargetCheckError(client.id, .isolation, report.breaches.joined(separator: "; "))
        }
        return "isolation: \(report.tried) connections that must not come about did not"
    }
}

/// A target that is not as it must be; no traffic goes there.
struct TargetCheckError: DRPError {
    var client: ClientID
    var check: TargetChecks.Kind
    var text: String

    init(_ client: ClientID, _ check: TargetChecks.Kind, _ text: String) {
        self.client = client
        self.check = check
        self.text = text
    }

    var code: ErrorCode { .targetDiffers }
    var message: String { "\(client): check \(check.rawValue): \(text)" }
    var advice: String { "Mend the target; do not switch traffic to it." }
}
