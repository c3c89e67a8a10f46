internal import ArgumentParser
internal import DRPKit
internal import Foundation
internal import Migrate

struct FailoverCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failover", abstract: "Bring the clients of a lost site to others, in order of priority.",
        discussion: """
            Examples:
              drp failover declare par-dc3 --confirm par-dc3
              drp failover plan par-dc3
              drp failover run par-dc3 --identity recovery.key --confirm par-dc3
              drp failover withdraw par-dc3 --reason back
            """,
        subcommands: [Declare.self, Plan.self, Run.self, Withdraw.self])

    struct Lost: ParsableArguments {
        @Argument(help: ArgumentHelp("The site that is lost.", valueName: "site"))
        var site: SiteName

        func check(_ composition: Composition) throws {
            guard composition.fleet.site(site) != nil else { throw Self.unknown(site, composition) }
        }

        static func unknown(_ site: SiteName, _ composition: Composition) -> UsageError {
            UsageError(
                "the fleet file has no site '\(site)'",
                advice: "Sites are: \(composition.fleet.sites.map(\.name.text).sorted().joined(separator: ", ")).")
        }
    }

    struct Selection: ParsableArguments {
        @OptionGroup var lost: Lost

        @Option(name: .long, help: ArgumentHelp("Where all go; without it where there is room.", valueName: "site"))
        var to: SiteName?

        @Option(
            name: .long,
            help: ArgumentHelp("`latest`, or no backup younger than this: 2026-11-25T02:00:00Z.", valueName: "time"))
        var at = RestoreLimit.latest

        @Option(name: .long, parsing: .upToNextOption, help: ArgumentHelp("Only these clients.", valueName: "client"))
        var only: [ClientID] = []

        @Option(name: .long, parsing: .upToNextOption, help: ArgumentHelp("Not these clients.", valueName: "client"))
        var exclude: [ClientID] = []

        @Option(name: .long, help: ArgumentHelp("How many clients are worked on at once.", valueName: "number"))
        var parallel = 2

        func validate() throws {
            guard (1...64).contains(parallel) else { throw ValidationError("--parallel takes 1 to 64.") }
        }

        func plan(_ composition: Composition, _ failover: Failover, _ runbook: Runbook) async throws -> FailoverPlan {
            try lost.check(composition)
            if let to, composition.fleet.site(to) == nil { throw Lost.unknown(to, composition) }
            _ = try composition.clients(only + exclude)
            let request = FailoverPlanner.Request(
                site: lost.site, to: to, only: Set(only), exclude: Set(exclude), parallel: parallel)
            return try await failover.plan(request, runbook: runbook, until: at.limit)
        }
    }

    struct Declare: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say that a site is lost: the clock of the recovery time starts.",
            discussion: """
                Examples:
                  drp failover declare par-dc3 --confirm par-dc3

                Scheduled backups of its clients, prune and erase stop until it is withdrawn or they live elsewhere.
                """)

        @OptionGroup var lost: Lost

        @Option(name: .long, help: ArgumentHelp("What happened, for the record.", valueName: "text"))
        var reason: String?

        @Option(name: .long, help: ArgumentHelp("The site's name.", valueName: "site"))
        var confirm: String?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            try FailoverCommands.require(confirm, lost.site, "this declares \(lost.site) lost")
            let composition = try await common.composition()
            try lost.check(composition)
            let declaration = try await composition.journal.declare(
                lost.site, by: RunWork.person, reason: reason)
            try Output.answer(DeclarationAnswer(declaration: declaration, isLost: true), json: common.json)
        }
    }

    struct Withdraw: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say that a site is not lost any more.",
            discussion: """
                Examples:
                  drp failover withdraw par-dc3 --reason back

                What was moved stays where it is: see `drp migrate`.
                """)

        @OptionGroup var lost: Lost
        @OptionGroup var reason: ReasonOption
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            try lost.check(composition)
            let declaration = try await composition.journal.withdraw(
                lost.site, by: RunWork.person, reason: reason.reason)
            guard let declaration else {
                throw UsageError("\(lost.site) is not declared lost", advice: "See `drp failover plan \(lost.site)`.")
            }
            try Output.answer(DeclarationAnswer(declaration: declaration, isLost: false), json: common.json)
        }
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show who goes where, from which backup, and when each serves again; change nothing.",
            discussion: """
                Examples:
                  drp failover plan par-dc3
                  drp failover plan par-dc3 --to gra --exclude birch --at 2026-11-25T02:00:00Z
                """)

        @OptionGroup var selection: Selection
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let failover = Failover(engine: try await composition.engine { _ in }, fleet: composition.fleet)
            let plan = try await selection.plan(composition, failover, try await composition.failoverRunbook())
            try Output.answer(FailoverPlanAnswer(plan: plan), json: common.json)
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bring the clients of a lost site to others now; run again, it goes on.",
            discussion: """
                Examples:
                  drp failover run par-dc3 --identity recovery.key --confirm par-dc3
                  drp failover run par-dc3 --only acme birch --identity recovery.key --confirm par-dc3

                Declares the site lost, if nobody has. A client that fails stops no other: mend the cause, then run it again.
                """)

        @OptionGroup var selection: Selection

        @Option(name: .long, help: ArgumentHelp("The site's name.", valueName: "site"))
        var confirm: String?

        @OptionGroup var identity: IdentityOption
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let site = selection.lost.site
            try FailoverCommands.require(confirm, site, "this moves the clients of \(site) to other sites")
            let display = ProgressDisplay(json: common.json)
            let composition = try await common.composition(identity: identity.identity, progress: display)
            let narrator = RunNarrator(display: display, isSilent: common.json, namesClient: true)
            let failover = Failover(
                engine: try await composition.engine { narrator.tell($0) }, fleet: composition.fleet)
            let runbook = try await composition.failoverRunbook()
            // Wrong names are refused before anything is declared.
            _ = try await selection.plan(composition, failover, runbook)
            try await composition.shipping {
                let declaration = try await composition.journal.declare(site, by: RunWork.person, reason: nil)
                let plan = try await selection.plan(composition, failover, runbook)
                let isSilent = common.json
                let outcomes = try await failover.run(
                    plan, runbook: runbook, declared: declaration.at, usesPoints: selection.at.limit != nil
                ) { outcome in
                    display.end()
                    if !isSilent { Output.note(FailoverAnswer.line(outcome)) }
                }
                let answer = FailoverAnswer(plan, declaration, outcomes, composition)
                try Output.answer(answer, json: common.json)
                if let code = answer.code { throw ExitStatus(code) }
            }
        }
    }

    static func require(_ confirm: String?, _ site: SiteName, _ what: String) throws {
        guard confirm == site.text else {
            throw UsageError(
                what, advice: "See `drp failover plan \(site)`, then give --confirm \(site)", code: .confirmationMissing
            )
        }
    }
}

/// `latest`, or a time after which no backup counts.
struct RestoreLimit: ExpressibleByArgument {
    static let latest = RestoreLimit(limit: nil)
    var limit: Date?

    init(limit: Date?) { self.limit = limit }

    init?(argument: String) {
        if argument == "latest" { return }
        guard let date = try? Date(argument, strategy: .iso8601) else { return nil }
        limit = date
    }

    var defaultValueDescription: String { "latest" }
}

extension Composition {
    func failoverRunbook() async throws -> Runbook {
        try runbooks.runbook(named: "failover", schemas: try await stepWorld().catalog.schemas)
    }
}
