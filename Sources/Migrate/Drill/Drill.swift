package import DRPKit
package import Foundation

/// Rehearses recoveries: runs of the mode `drill`, one client after the other, and what their evidence is worth now.
package struct Drill: Sendable {
    /// What became of one client.
    package struct Outcome: Sendable {
        package var client: ClientID
        package var result: Result<RunReport, any Error>
    }

    /// What is known of a client's last success.
    package struct Standing: Sendable, Codable, Hashable {
        package enum State: String, Sendable, Codable, Hashable {
            case never
            case proven
            /// What it proved has changed since: `because` says what.
            case stale
            /// Longer ago than the policy wants.
            case late
        }

        package var client: ClientID
        package var state: State
        package var because: [String] = []
        package var last: Date?
        package var run: RunID?
    }

    /// The input that holds what the run was a rehearsal of.
    static let subject = "subject"

    private let engine: RunEngine
    private let fleet: Fleet
    private let world: StepWorld
    private var journal: Journal { engine.journal }

    package init(engine: RunEngine, world: StepWorld) {
        self.engine = engine
        self.world = world
        fleet = world.fleet
    }

    package static func inputs(_ client: Client, fleet: Fleet, at target: SiteName, backup: String) -> [String: String]
    {
        [
            "client": client.id.text, "target": target.text, "source": client.site.text, "at": backup,
            subject: fleet.rehearsed(client).description,
        ]
    }

    /// Takes away what dead drills left, then rehearses each client. One that fails stops no other.
    /// - Parameter tell: called as each client ends.
    package func run(
        _ clients: [(client: Client, target: SiteName)], runbook: Runbook, backup: String,
        tell: @escaping @Sendable (Outcome) -> Void
    ) async throws -> [Outcome] {
        var outcomes: [Outcome] = []
        for (client, target) in clients {
            try Task.checkCancellation()
            let outcome: Outcome
            do {
                try await reap(client, at: target)
                let inputs = Self.inputs(client, fleet: fleet, at: target, backup: backup)
                let report = try await engine.start(
                    runbook, client: client.id, inputs: inputs, mode: .drill, declared: engine.clock.now,
                    unfinished: .supersedeDrills)
                outcome = Outcome(client: client.id, result: .success(report))
            } catch {
                outcome = Outcome(client: client.id, result: .failure(error))
            }
            tell(outcome)
            outcomes.append(outcome)
        }
        return outcomes
    }

    /// What a drill that died left of the client, whatever run it was of.
    private func reap(_ client: Client, at target: SiteName) async throws {
        guard let site = fleet.site(target) else { return }
        let deployer = try world.deployer(site, .drill)
        guard let left = try await deployer.observe(client.id).deployment else { return }
        try await journal.holding("client/\(client.id)") { _ in
            try await deployer.remove(client.id, owner: left.owner)
            try await journal.append(
                event: "drill.reaped", client: client.id,
                payload: ["run": .text(left.run), "site": .text(target.text)])
        }
    }

    /// What each client's last successful drill is worth now.
    package func standings(runbook: Runbook, now: Date) async throws -> [Standing] {
        var last: [ClientID: RunEntry] = [:]
        for run in try await journal.runs(limit: .max) where run.mode == .drill && run.state == .done {
            if last[run.client] == nil { last[run.client] = run }
        }
        return fleet.clientsByPriority.map { client in
            guard let run = last[client.id] else { return Standing(client: client.id, state: .never) }
            var standing = Standing(
                client: client.id, state: .proven, last: run.finished ?? run.started, run: run.id)
            if run.runbookHash != runbook.sha256 { standing.because.append("the runbook has changed") }
            if run.inputs[Self.subject] != fleet.rehearsed(client).description {
                standing.because.append("the client or its policy has changed")
            }
            if !standing.because.isEmpty { standing.state = .stale }
            if let cadence = fleet.policy(of: client)?.drill,
                now.timeIntervalSince(run.started) > cadence.longest
            {
                standing.state = .late
                standing.because.append("the policy wants one \(cadence.rawValue)")
            }
            return standing
        }
    }
}

extension Fleet {
    /// What a drill of the client proves: a hash of all that the fleet file says of it and of its policy.
    func rehearsed(_ client: Client) -> ContentHash {
        // A dictionary's own description has another order in each process.
        let secrets = (client.services.api?.secrets ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        var plain = client
        plain.services.api?.secrets = [:]
        let parts = ["\(plain)", policy(of: client).map { "\($0)" } ?? ""] + secrets
        return ContentHash(hashing: Array(parts.joined(separator: "\n").utf8))
    }
}

extension Policy.Drill {
    /// Seconds between two, with some days of grace.
    fileprivate var longest: TimeInterval {
        let day = 86_400.0
        return switch self {
        case .weekly: 8 * day
        case .monthly: 33 * day
        case .quarterly: 95 * day
        case .yearly: 370 * day
        }
    }
}
