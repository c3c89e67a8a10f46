internal import DRPKit
internal import Foundation
internal import Migrate

/// Moves clients one after the other by one runbook; a client that fails stops no other.
struct Move {
    var clients: [ClientID]
    var to: SiteName
    var runbook: String
    /// Inputs of the runbook beside client, source and target.
    var more: [String: String]
    /// Why it may be in a client's business hours; nil is no reason.
    var reason: String?
    /// Whether the clients are up, so that the move takes them down.
    var isPlanned = true
    var common: CommonOptions
    var identity: String?

    /// Shows every step, and changes nothing.
    func plan() async throws {
        let composition = try await common.composition(identity: identity)
        let engine = try await composition.engine { _ in }
        let runbook = try await read(composition)
        var answer = MigratePlanAnswer()
        for client in try composition.clients(clients) {
            let inputs = try await inputs(composition, client)
            let steps = try await engine.plan(runbook, client: client.id, inputs: inputs)
            answer.plans.append(.init(client: client.id, target: to, runbook: runbook.file, steps: steps))
        }
        try Output.answer(answer, json: common.json)
    }

    func run() async throws {
        let display = ProgressDisplay(json: common.json)
        let composition = try await common.composition(identity: identity, progress: display)
        let narrator = RunNarrator(display: display, isSilent: common.json)
        let engine = try await composition.engine { narrator.tell($0) }
        let runbook = try await read(composition)
        let wanted = try composition.clients(clients)
        try await checkHours(wanted, composition)
        try await composition.shipping {
            let declared = composition.clock.now
            var answer = RunsAnswer()
            for client in wanted {
                do {
                    // Again: the day goes on while others are moved.
                    try await checkHours([client], composition)
                    let report = try await engine.start(
                        runbook, client: client.id, inputs: try await inputs(composition, client), declared: declared)
                    answer.runs.append(RunAnswer(report, objectives: composition.fleet.objectives(of: client)))
                } catch {
                    if clients.count == 1 { throw error }
                    answer.problems.append(BackupProblem(client: client.id, store: nil, error))
                }
                display.end()
            }
            try Output.answer(answer, json: common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }

    /// Nobody's working day is broken without a word about it.
    private func checkHours(_ wanted: [Client], _ composition: Composition) async throws {
        guard isPlanned else { return }
        let working = wanted.filter { $0.hours?.contains(composition.clock.now) == true }
        guard !working.isEmpty else { return }
        guard let reason else {
            let names = working.map { "\($0.id) (\($0.hours?.description ?? ""))" }.joined(separator: ", ")
            throw UsageError(
                "it is business hours of \(names), and a move takes them down",
                advice: "Wait for their evening, or say why it must be now: --reason TEXT", code: .confirmationMissing)
        }
        for client in working {
            try await composition.journal.append(
                event: "move.in-business-hours", client: client.id,
                payload: ["by": .text(RunWork.person), "reason": .text(reason)])
        }
    }

    private func read(_ composition: Composition) async throws -> Runbook {
        try composition.runbooks.runbook(named: runbook, schemas: try await composition.stepWorld().catalog.schemas)
    }

    private func inputs(_ composition: Composition, _ client: Client) async throws -> [String: String] {
        guard composition.fleet.site(to) != nil else { throw FailoverCommands.Lost.unknown(to, composition) }
        let placement = try await composition.journal.placement(of: client.id)
        let known = ["client": client.id.text, "target": to.text, "source": (placement?.site ?? client.site).text]
        return known.merging(more) { $1 }
    }
}
