package import DRPKit
internal import Foundation

/// Decides at a site's host which clients' stacks may run there: a client lives where its owner record says, and nowhere else,
/// whatever the host remembers of itself. It needs neither fleet file nor journal: the containers' labels name clients and
/// domains, and the records are asked of the authorities.
package struct HostGuard: Sendable {
    package enum Verdict: String, Sendable, Codable, Hashable {
        /// It lives here: what does not run is started.
        case starts
        /// It has moved: what runs is stopped.
        case stays = "stays-stopped"
        /// It was fenced here: what runs is stopped, whatever the records say.
        case fenced
        /// A move here is on its way: left as it is.
        case prepared
        /// The records cannot be asked, or do not say one thing: left as it is.
        case unknown
    }

    package struct Decision: Sendable, Codable, Hashable {
        package var client: String
        package var verdict: Verdict
        package var because: String
        /// Containers that were started or stopped.
        package var changed: [String] = []
    }

    let site: SiteName
    let engine: DockerEngine
    let authorities: [DNSServer]
    let clock: any WallClock
    private let exchange: @Sendable (DNSServer) -> any DNSExchange

    /// - Parameter exchange: in place of TCP connections, for tests.
    package init(
        site: SiteName, engine: DockerEngine, authorities: [DNSServer], clock: any WallClock,
        exchange: @escaping @Sendable (DNSServer) -> any DNSExchange = { DNSClient(server: $0, deadline: .seconds(2)) }
    ) {
        self.site = site
        self.engine = engine
        self.authorities = authorities
        self.clock = clock
        self.exchange = exchange
    }

    /// Looks once at all clients of the host, and starts and stops what the records say.
    /// - Throws: `DockerError` if the engine cannot be asked at all.
    package func run() async throws -> [Decision] {
        var decisions: [Decision] = []
        for stack in try await stacks() {
            var decision = await decide(stack)
            do {
                switch decision.verdict {
                case .starts: decision.changed = try await start(stack)
                case .stays, .fenced: decision.changed = try await stop(stack)
                case .prepared, .unknown: break
                }
            } catch let error as DockerError {
                (decision.verdict, decision.because) = (.unknown, error.message)
            }
            decisions.append(decision)
        }
        return decisions
    }

    // MARK: What stands there

    struct Stack: Sendable {
        var client: ClientID
        var owner: UUID
        var epoch: Int
        var domains: [String]
        var isFenced = false
        var containers: [DockerRole: DockerObject.Container] = [:]
    }

    /// By client; what does not bear drp's labels of this site is nobody's business here, drills are none either.
    private func stacks() async throws -> [Stack] {
        var stacks: [ClientID: Stack] = [:]
        for container in try await engine.containers(namePrefix: "drp_") {
            guard let labels = container.labels, let client = labels[DockerLabels.client].flatMap({ ClientID($0) }),
                DockerLabels.mark(labels, client, nil, site),
                let role = labels[DockerLabels.role].flatMap(DockerRole.init),
                container.names.contains("/\(DockerNames(client: client).container(role))"),
                let owner = labels[DockerLabels.owner].flatMap({ UUID(uuidString: $0) }),
                let epoch = labels[DockerLabels.epoch].flatMap({ Int($0) })
            else { continue }
            let domains = (labels[DockerLabels.domains] ?? "").split(separator: " ").map(String.init)
            var stack = stacks[client] ?? Stack(client: client, owner: owner, epoch: epoch, domains: domains)
            stack.containers[role] = container
            stacks[client] = stack
        }
        for volume in try await engine.volumes(namePrefix: "drp_") {
            for client in stacks.keys where volume.name == DockerNames(client: client).fence {
                stacks[client]?.isFenced = true
            }
        }
        return stacks.values.sorted { $0.client < $1.client }
    }

    // MARK: Deciding

    private func decide(_ stack: Stack) async -> Decision {
        if stack.isFenced {
            return Decision(
                client: stack.client.text, verdict: .fenced,
                because: "it was fenced here; `drp unfence` or a move opens it")
        }
        var records: [OwnerRecord?] = []
        do {
            guard !stack.domains.isEmpty else { throw Unclear("it has no domains, so no record says where it lives") }
            for domain in stack.domains { records += try await self.records(of: domain) }
        } catch {
            let why = (error as? Unclear)?.text ?? Fault(error).text
            return Decision(client: stack.client.text, verdict: .unknown, because: why)
        }
        let (verdict, because) = Self.verdict(records, client: stack.owner, epoch: stack.epoch, site: site)
        return Decision(client: stack.client.text, verdict: verdict, because: because)
    }

    /// - Parameters:
    ///   - records: of all domains at all authorities that answered; nil where one has none.
    ///   - epoch: that the stack was made for.
    static func verdict(
        _ records: [OwnerRecord?], client: UUID, epoch: Int, site: SiteName
    ) -> (Verdict, String) {
        let known = records.compactMap { $0 }
        guard known.allSatisfy({ $0.client == client }) else { return (.unknown, "a record is another client's") }
        // Not all authorities follow at once: the highest epoch is the last word, and it must be of one mind.
        guard let last = known.map(\.epoch).max() else {
            return (.unknown, "no authority has an owner record")
        }
        let sites = Set(known.filter { $0.epoch == last }.map(\.site))
        guard sites.count == 1, let owner = sites.first else {
            return (.unknown, "epoch \(last) names \(sites.map(\.text).sorted().joined(separator: " and "))")
        }
        let said = "the record names \(owner), epoch \(last)"
        if owner == site {
            // An authority that is behind, or a domain that is not switched yet, is no reason to wait; one that has nothing is.
            return records.contains(nil) ? (.unknown, "\(said), but not at every authority") : (.starts, said)
        }
        return last >= epoch ? (.stays, said) : (.prepared, "\(said); this stack is made for epoch \(epoch)")
    }

    /// What the authorities say of a domain; more than half must answer, or an old one that is cut off could speak for all.
    private func records(of domain: String) async throws -> [OwnerRecord?] {
        guard let mark = DNSName(domain)?.child("_drp") else { throw Unclear("its domain is no name") }
        let answers = await withTaskGroup(of: Result<OwnerRecord?, any Error>.self) { group in
            for authority in authorities { group.addTask { await ask(authority, mark) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let records = answers.compactMap { try? $0.get() }
        guard records.count * 2 > authorities.count else {
            let failed = answers.compactMap { if case .failure(let error) = $0 { Fault(error).text } else { nil } }
            throw Unclear(
                "\(records.count) of \(authorities.count) authorities answer: \(failed.joined(separator: "; "))")
        }
        return records
    }

    private func ask(_ authority: DNSServer, _ mark: DNSName) async -> Result<OwnerRecord?, any Error> {
        let query = DNSQuery(exchange: exchange(authority), server: "\(authority)", key: nil, clock: clock)
        do {
            let records = try await query.records(mark, .txt)
            // Two of them say nothing.
            guard records.count == 1, case .txt(let strings) = records[0].data else { return .success(nil) }
            return .success(OwnerRecord(String(decoding: strings.joined(), as: UTF8.self)))
        } catch { return .failure(error) }
    }

    private struct Unclear: Error {
        var text: String
        init(_ text: String) { self.text = text }
    }

    // MARK: Acting

    private func start(_ stack: Stack) async throws -> [String] {
        var changed: [String] = []
        for role in DockerRole.allCases {
            guard let container = stack.containers[role], !container.isRunning else { continue }
            try await engine.startContainer(container.id)
            changed.append(role.rawValue)
        }
        return changed
    }

    /// The edge first: what cannot be reached takes no writes.
    private func stop(_ stack: Stack) async throws -> [String] {
        var changed: [String] = []
        for role in DockerRole.allCases.reversed() {
            guard let container = stack.containers[role], container.isRunning else { continue }
            try await engine.stopContainer(container.id, within: .seconds(10))
            changed.append(role.rawValue)
        }
        return changed
    }
}
