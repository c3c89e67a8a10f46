internal import ArgumentParser
internal import DRPKit
internal import Foundation
internal import Migrate

struct RunsCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runs", abstract: "List and watch runs, and decide about those that wait.",
        discussion: """
            Examples:
              drp runs list
              drp runs watch 20261125-093012-acme-migrate-4f2a
              drp runs resume 20261125-093012-acme-migrate-4f2a --identity recovery.key
            """,
        subcommands: [
            List.self, Show.self, Watch.self, Resume.self, Retry.self, Skip.self, Rollback.self, Approve.self,
            Cancel.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List runs, newest first.",
            discussion: """
                Examples:
                  drp runs list
                  drp runs list --client acme --json
                """)

        @Option(name: .long, help: ArgumentHelp("Only this client's.", valueName: "client"))
        var client: ClientID?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            try Output.answer(
                RunListAnswer(runs: try await composition.journal.runs(client: client)), json: common.json)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one run: its steps, and what it proves.",
            discussion: """
                Examples:
                  drp runs show 20261125-093012-acme-migrate-4f2a
                """)

        @Argument(help: ArgumentHelp("The run, as `runs list` names it.", valueName: "run"))
        var run: RunID

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let report = try await composition.engine { _ in }.report(on: run)
            var answer = RunsAnswer()
            answer.runs = [RunAnswer(report, objectives: composition.objectives(of: report.run.client))]
            try Output.answer(answer, json: common.json)
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Go on with a run that waits or whose process died.",
            discussion: """
                Examples:
                  drp runs resume 20261125-093012-acme-migrate-4f2a --identity recovery.key

                Each step is observed first: what is done is not done again.
                """)

        @OptionGroup var work: RunWork

        func run() async throws { try await work.goOn { try await $0.resume($1) } }
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Try a run's step again, or all from an earlier one on.",
            discussion: """
                Examples:
                  drp runs retry 20261125-093012-acme-migrate-4f2a --identity recovery.key
                  drp runs retry 20261125-093012-acme-migrate-4f2a --from verify --identity recovery.key

                Each step is observed first: what is done is not done again.
                """)

        @OptionGroup var work: RunWork

        @Option(name: .long, help: ArgumentHelp("The first step to try again.", valueName: "step"))
        var from: String?

        func run() async throws {
            try await work.goOn { [from] in try await $0.retry($1, from: from, by: RunWork.person) }
        }
    }

    struct Skip: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Leave out the step at which a run waits, on record, and go on.",
            discussion: """
                Examples:
                  drp runs skip 20261125-093012-acme-migrate-4f2a --reason mailed --identity recovery.key

                What the step had begun stays as it is. Traffic is never switched to a target that was not compared: a run
                whose verify was left out waits at its switch.
                """)

        @OptionGroup var work: RunWork
        @OptionGroup var reason: ReasonOption

        func run() async throws {
            try await work.goOn { [reason] in try await $0.skip($1, by: RunWork.person, reason: reason.reason) }
        }
    }

    struct Rollback: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take back what a run did, its last step first.",
            discussion: """
                Examples:
                  drp runs rollback 20261125-093012-acme-migrate-4f2a --reason mistake --confirm acme

                Once clients have written at the new side, what they would lose is named, and nothing is done without
                --lose-writes.
                """)

        @OptionGroup var work: RunWork
        @OptionGroup var reason: ReasonOption

        @Option(name: .long, help: ArgumentHelp("The client's name.", valueName: "client"))
        var confirm: String?

        @Flag(name: .long, help: "What clients wrote at the new side may be lost.")
        var loseWrites = false

        func run() async throws {
            try await work.goOn { [reason, confirm, loseWrites] engine, id in
                let client = try await engine.report(on: id).run.client
                guard confirm == client.text else {
                    throw UsageError(
                        "this takes back what run \(id) did to \(client)",
                        advice: "See `drp runs show \(id)`, then give --confirm \(client)", code: .confirmationMissing)
                }
                return try await engine.rollBack(
                    id, by: RunWork.person, reason: reason.reason, accepts: loseWrites)
            }
        }
    }

    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Agree to what a run waits for; it goes on when it is resumed.",
            discussion: """
                Examples:
                  drp runs approve 20261125-093012-acme-migrate-4f2a --reason client-told
                """)

        @Argument(help: ArgumentHelp("The run, as `runs list` names it.", valueName: "run"))
        var run: RunID

        @Option(name: .long, help: ArgumentHelp("Why, for the record.", valueName: "text"))
        var reason: String?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let step = try await composition.engine { _ in }.approve(run, by: RunWork.person, reason: reason)
            try Output.answer(DecisionAnswer(run: run, step: step, decision: "approved"), json: common.json)
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a run up; what its steps did stays as it is.",
            discussion: """
                Examples:
                  drp runs cancel 20261125-093012-acme-migrate-4f2a --reason moved-by-hand
                """)

        @Argument(help: ArgumentHelp("The run, as `runs list` names it.", valueName: "run"))
        var run: RunID

        @OptionGroup var reason: ReasonOption
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            try await composition.engine { _ in }.cancel(run, reason: "\(reason.reason) (\(RunWork.person))")
            try Output.answer(DecisionAnswer(run: run, step: nil, decision: "cancelled"), json: common.json)
        }
    }

    struct Watch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Look on while a run works, from any terminal.",
            discussion: """
                Examples:
                  drp runs watch 20261125-093012-acme-migrate-4f2a

                Ends when the run does, or when it waits, with its exit status. Elsewhere than on a terminal each change is a line.
                """)

        @Argument(help: ArgumentHelp("The run, as `runs list` names it.", valueName: "run"))
        var run: RunID

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let watch = RunWatch(composition: composition, isSilent: common.json)
            let report = try await watch.follow(run)
            var answer = RunsAnswer()
            answer.runs = [RunAnswer(report, objectives: composition.objectives(of: report.run.client))]
            try Output.answer(answer, json: common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }
}

/// A run that this process goes on with.
struct RunWork: ParsableArguments {
    @Argument(help: ArgumentHelp("The run, as `runs list` names it.", valueName: "run"))
    var run: RunID

    @Option(
        name: .long, help: ArgumentHelp("The recovery identity, if a backup is still to be opened.", valueName: "file"))
    var identity: String?

    @OptionGroup var common: CommonOptions

    /// Who decides, for the record.
    static var person: String { NSUserName() }

    func goOn(_ body: @escaping @Sendable (RunEngine, RunID) async throws -> RunReport) async throws {
        let display = ProgressDisplay(json: common.json)
        let composition = try await common.composition(identity: identity, progress: display)
        let narrator = RunNarrator(display: display, isSilent: common.json)
        let run = run
        try await composition.shipping {
            let report = try await body(try await composition.engine { narrator.tell($0) }, run)
            display.end()
            var answer = RunsAnswer()
            answer.runs = [RunAnswer(report, objectives: composition.objectives(of: report.run.client))]
            try Output.answer(answer, json: common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }
}

/// What was decided about a run that nobody works on now.
struct DecisionAnswer: Answer {
    var run: RunID
    var step: String?
    var decision: String

    var text: String {
        guard let step else { return "Run \(run) is \(decision)." }
        return "Step \(step) of run \(run) is \(decision). Go on with `drp runs resume \(run)`."
    }
}

extension RunID: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

extension Composition {
    /// A client that has left the fleet file was promised nothing that is known any more.
    func objectives(of client: ClientID) -> Objectives {
        fleet.client(client).map { fleet.objectives(of: $0) } ?? Objectives()
    }
}
