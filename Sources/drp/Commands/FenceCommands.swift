internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation
internal import Migrate

/// What `fence` and `unfence` are told.
struct SideOptions: ParsableArguments {
    @Argument(help: ArgumentHelp("The client.", valueName: "client"))
    var client: ClientID

    @Option(name: .long, help: ArgumentHelp("Which side; where it lives without this.", valueName: "site"))
    var site: SiteName?

    @OptionGroup var why: ReasonOption

    @Option(name: .long, help: ArgumentHelp("The client's name again.", valueName: "client"))
    var confirm: ClientID?

    @OptionGroup var common: CommonOptions

    /// The client's side, under the client's lease, so that no run works on it at the same time.
    func withSide<Result: Sendable>(
        _ act: String,
        _ body: @escaping @Sendable (Composition, Client, Site, _ livesThere: Bool, Fence) async throws -> Result
    ) async throws -> Result {
        let composition = try await common.composition()
        let client = try composition.client(client)
        guard confirm == client.id else {
            throw UsageError(
                "\(act) \(client.id) needs its name again", advice: "Give the client's name: --confirm \(client.id)",
                code: .confirmationMissing)
        }
        let world = try await composition.stepWorld()
        return try await composition.journal.holding("client/\(client.id)") { [site] _ in
            // Under the lease: a run that ends in between would make it stale.
            let placement = try await composition.journal.placement(of: client.id)
            let home = try ClientPlace(client, placement: placement).site
            let name = site ?? home
            guard let site = composition.fleet.site(name) else {
                throw FailoverCommands.Lost.unknown(name, composition)
            }
            return try await body(composition, client, site, home == name, Fence(world, client: client, at: site))
        }
    }
}

struct FenceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fence",
        abstract: "Keep one side of a client from taking writes, by hand and on record.",
        discussion: """
            Examples:
              drp fence acme --site par-dc3 --reason returned --confirm acme
              drp fence acme --reason intrusion --confirm acme

            Its databases refuse applications, and its stack is stopped where drp deploys. What cannot be reached is said, and the
            exit status is 1. Where the client lives, it serves nobody until `drp unfence`.
            """)

    @OptionGroup var side: SideOptions

    func run() async throws {
        let reason = side.why.reason
        let answer = try await side.withSide("fencing") { composition, client, site, _, fence in
            let outcome = await fence.close()
            let answer = FenceAnswer(
                client: client.id, site: site.name, done: outcome.fenced, open: outcome.open, isClosed: outcome.isClosed
            )
            try await composition.journal.append(
                event: "client.fenced", client: client.id,
                payload: [
                    "site": .text(site.name.text), "by": .text(RunWork.person), "reason": .text(reason),
                    "fenced": .list(outcome.fenced.map { .text($0) }), "open": .list(outcome.open.map { .text($0) }),
                ])
            return answer
        }
        try Output.answer(answer, json: side.common.json)
        if !answer.isClosed { throw ExitStatus(.failed) }
    }
}

struct UnfenceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unfence",
        abstract: "Let the side where a client lives take writes again.",
        discussion: """
            Examples:
              drp unfence acme --reason cleared --confirm acme

            A side where the client does not live stays fenced: two sides that both take writes cannot be put together again.
            """)

    @OptionGroup var side: SideOptions

    func run() async throws {
        let reason = side.why.reason
        let answer = try await side.withSide("unfencing") { composition, client, site, livesThere, fence in
            guard livesThere else {
                throw UsageError(
                    "\(client.id) does not live at \(site.name): a second side must never take writes",
                    advice: "Move the client there instead: drp migrate run \(client.id) --to \(site.name)")
            }
            // A run that waits may have compared the target with this side, or have sent traffic away from it.
            if let run = try await composition.journal.openRuns(client: client.id).first {
                throw RunError(.unfinished, run: run.id)
            }
            try await fence.start()
            try await fence.unblock()
            try await composition.journal.append(
                event: "client.unfenced", client: client.id,
                payload: ["site": .text(site.name.text), "by": .text(RunWork.person), "reason": .text(reason)])
            return FenceAnswer(
                client: client.id, site: site.name, done: ["databases take applications again"], open: [],
                isClosed: false)
        }
        try Output.answer(answer, json: side.common.json)
    }
}

struct FenceAnswer: Answer {
    var client: ClientID
    var site: SiteName
    var done: [String]
    /// What may still take writes, and why.
    var open: [String]
    var isClosed: Bool

    var text: String {
        let lines = done.map { "\(client) at \(site): \($0)" }
        return (lines + open.map { "\(client) at \(site) is NOT fenced: \(Text.safe($0))" }).joined(separator: "\n")
    }
}
