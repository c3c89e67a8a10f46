internal import ArgumentParser
internal import DRPKit
internal import Foundation
internal import Migrate

struct DrillCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drill", abstract: "Rehearse recoveries beside production, and see what the last ones are worth.",
        discussion: """
            Examples:
              drp drill plan acme --to par-dc5 --identity drill.key
              drp drill run acme --to par-dc5 --identity drill.key
              drp drill run --sample 3 --to par-dc5 --identity drill.key
              drp drill list
            """,
        subcommands: [Plan.self, Run.self, List.self])

    struct Options: ParsableArguments {
        @Argument(help: ArgumentHelp("Clients, in order of their priority.", valueName: "client"))
        var clients: [ClientID] = []

        @Flag(name: .long, help: "All clients.")
        var all = false

        @Option(
            name: .long,
            help: ArgumentHelp("So many clients, those whose last success is the longest ago.", valueName: "number"))
        var sample: Int?

        @Option(name: .long, help: ArgumentHelp("The site to rehearse at.", valueName: "site"))
        var to: SiteName

        @Option(name: .long, help: ArgumentHelp("`latest` or a backup's number.", valueName: "backup"))
        var at = "latest"

        @OptionGroup var identity: IdentityOption
        @OptionGroup var common: CommonOptions

        func validate() throws {
            let ways = [!clients.isEmpty, all, sample != nil].count { $0 }
            guard ways == 1 else { throw ValidationError("Name clients, or give --all, or --sample NUMBER.") }
            if let sample, sample < 1 { throw ValidationError("--sample takes 1 or more.") }
        }

        func wanted(_ composition: Composition, _ drill: Drill, _ runbook: Runbook) async throws -> [Client] {
            guard composition.fleet.site(to) != nil else { throw FailoverCommands.Lost.unknown(to, composition) }
            guard let sample else { return try composition.clients(clients) }
            let standings = try await drill.standings(runbook: runbook, now: composition.clock.now)
            let oldest = standings.enumerated().sorted {
                ($0.element.last ?? .distantPast, $0.offset) < ($1.element.last ?? .distantPast, $1.offset)
            }
            return try composition.clients(oldest.prefix(sample).map(\.element.client))
        }
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show every step of a drill, and change nothing.",
            discussion: """
                Examples:
                  drp drill plan acme --to par-dc5 --identity drill.key
                """)

        @OptionGroup var options: Options

        func run() async throws {
            let composition = try await options.common.composition(identity: options.identity.identity)
            let (engine, drill, runbook) = try await composition.drill { _ in }
            var answer = MigratePlanAnswer()
            for client in try await options.wanted(composition, drill, runbook) {
                let inputs = Drill.inputs(client, fleet: composition.fleet, at: options.to, backup: options.at)
                let steps = try await engine.plan(runbook, client: client.id, inputs: inputs, mode: .drill)
                answer.plans.append(.init(client: client.id, target: options.to, runbook: runbook.file, steps: steps))
            }
            try Output.answer(answer, json: options.common.json)
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Rehearse now: redeploy, restore, compare, probe, and clean up.",
            discussion: """
                Examples:
                  drp drill run acme --to par-dc5 --identity drill.key
                  drp drill run --all --to par-dc5 --identity drill.key

                From the backups alone; production is neither read nor changed. What drills that died left is taken away first.
                """)

        @OptionGroup var options: Options

        func run() async throws {
            let display = ProgressDisplay(json: options.common.json)
            let composition = try await options.common.composition(
                identity: options.identity.identity, progress: display)
            let narrator = RunNarrator(display: display, isSilent: options.common.json, namesClient: true)
            let (_, drill, runbook) = try await composition.drill { narrator.tell($0) }
            let clients = try await options.wanted(composition, drill, runbook)
            try await composition.shipping {
                let outcomes = try await drill.run(
                    clients.map { ($0, options.to) }, runbook: runbook, backup: options.at
                ) { _ in display.end() }
                let answer = DrillAnswer(outcomes, composition)
                try Output.answer(answer, json: options.common.json)
                if let code = answer.code { throw ExitStatus(code) }
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say of each client when it was rehearsed last, and whether that still proves anything.",
            discussion: """
                Examples:
                  drp drill list
                """)

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let (_, drill, runbook) = try await composition.drill { _ in }
            let standings = try await drill.standings(runbook: runbook, now: composition.clock.now)
            try Output.answer(DrillListAnswer(clients: standings), json: common.json)
        }
    }
}

extension Composition {
    func drill(
        _ say: @escaping @Sendable (RunProgress) -> Void
    ) async throws -> (engine: RunEngine, drill: Drill, runbook: Runbook) {
        let world = try await stepWorld()
        let engine = RunEngine(journal: journal, catalog: world.catalog, clock: clock, progress: say)
        return (
            engine, Drill(engine: engine, world: world),
            try runbooks.runbook(named: "drill", schemas: world.catalog.schemas)
        )
    }
}

struct DrillListAnswer: Answer {
    var clients: [Drill.Standing]

    var text: String {
        let rows = clients.map { standing in
            [
                standing.client.text, standing.state.rawValue, standing.last.map(Text.shortTime) ?? "-",
                standing.because.isEmpty ? "-" : standing.because.joined(separator: "; "),
            ]
        }
        return Text.table([["CLIENT", "EVIDENCE", "LAST SUCCESS", "BECAUSE"]] + rows)
    }
}

/// What drills came to.
struct DrillAnswer: Answer {
    struct Row: Encodable {
        var client: ClientID
        var state: String
        var run: RunID?
        var data: String?
        /// What left its networks; nil where the site does not count.
        var packets: PacketCount?
        var rpo: MoveEvidence.Measured?
        var rto: MoveEvidence.Measured?
        var error: String?
        var code: ErrorCode?
    }

    var clients: [Row]

    init(_ outcomes: [Drill.Outcome], _ composition: Composition) {
        clients = outcomes.map { outcome in
            switch outcome.result {
            case .success(let report):
                let evidence = MoveEvidence(report, objectives: composition.objectives(of: outcome.client))
                return Row(
                    client: outcome.client, state: report.run.state == .done ? "proven" : report.run.state.rawValue,
                    run: report.run.id, data: evidence.data, packets: evidence.packets, rpo: evidence.rpo,
                    rto: evidence.rto,
                    error: report.error?.message, code: report.error?.code)
            case .failure(let error):
                let fault = Fault(error)
                return Row(client: outcome.client, state: "failed", error: fault.text, code: fault.code)
            }
        }
    }

    /// nil if every drill succeeded.
    var code: ErrorCode? {
        let failed = clients.compactMap(\.code)
        guard let first = failed.first else { return nil }
        return failed.count == clients.count ? first : .partial
    }

    var text: String {
        let titles = ["CLIENT", "DRILL", "RPO", "PROMISED", "RTO", "PROMISED"]
        var lines = [Text.table([titles] + clients.map(Self.cells))]
        for row in clients {
            if let data = row.data { lines.append("\(row.client): \(data)\(row.packets.map(Self.shown) ?? "")") }
            if let error = row.error, let code = row.code {
                lines.append("\(row.client): \(Text.safe(error)) [\(code.rawValue)]")
            }
        }
        return lines.joined(separator: "\n")
    }

    private static func cells(_ row: Row) -> [String] {
        let (rpo, rto) = (row.rpo, row.rto)
        return [
            row.client.text, row.state, rpo.map { Text.seconds($0.seconds) } ?? "-",
            FailoverAnswer.promise(rpo?.seconds, rpo?.promisedSeconds), rto.map { Text.seconds($0.seconds) } ?? "-",
            FailoverAnswer.promise(rto?.seconds, rto?.promisedSeconds),
        ]
    }

    private static func shown(_ packets: PacketCount) -> String {
        "; packets out of its networks: \(packets.left + packets.toHost) (tried: \(packets.tried))"
    }
}
