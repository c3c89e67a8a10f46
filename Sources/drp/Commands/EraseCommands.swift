internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct EraseCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "erase", abstract: "Erase a client for good: all its backups, in every store.",
        discussion: """
            Examples:
              drp erase plan acme
              drp erase run acme --confirm acme
            """,
        subcommands: [Plan.self, Run.self])

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what would be destroyed, and what a lock keeps until when; changes nothing.",
            discussion: """
                Examples:
                  drp erase plan acme
                  drp erase plan acme --json
                """)

        @Argument(help: ArgumentHelp("The client; it need not be in the fleet file any more.", valueName: "client"))
        var client: ClientID

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let answer = ErasePlanAnswer(try await composition.eraseJob.plan(client))
            try Output.answer(answer, json: common.json)
            if !answer.problems.isEmpty { throw ExitStatus(.partial) }
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Destroy the keys of all backups, and all that can be destroyed now.",
            discussion: """
                Examples:
                  drp erase run acme --confirm acme
                  drp erase run acme --confirm acme --json

                There is no way back. Nothing is backed up or extended from then on, and a tombstone in each store keeps sync,
                catalog and bootstrap from bringing the client back. What a lock keeps is put out of sight; the receipt says until
                when, and stays in the journal. Run it again then. A client that is held is refused.
                """)

        @Argument(help: ArgumentHelp("The client; it need not be in the fleet file any more.", valueName: "client"))
        var client: ClientID

        @Option(name: .long, help: ArgumentHelp("The client's name again.", valueName: "client"))
        var confirm: ClientID?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            guard confirm == client else {
                throw UsageError(
                    "erasing \(client) destroys all its backups for good",
                    advice: "See `drp erase plan \(client)`, then give the client's name: --confirm \(client)",
                    code: .confirmationMissing)
            }
            try await composition.shipping {
                let (receipt, problems) = try await composition.eraseJob.run(client)
                let answer = EraseAnswer(receipt, problems)
                try Output.answer(answer, json: common.json)
                if !answer.problems.isEmpty { throw ExitStatus(.partial) }
            }
        }
    }
}

struct ErasePlanAnswer: Answer {
    var client: ClientID
    var repository: UUID
    /// Absent if no run began.
    var begun: Date?
    var stores: [ErasePlan.Store]
    var problems: [BackupProblem]

    init(_ plan: ErasePlan) {
        client = plan.client
        repository = plan.repository
        begun = plan.begun
        stores = plan.stores
        problems = plan.problems.map { BackupProblem(client: plan.client, store: $0.store, $0.error) }
    }

    var text: String {
        let rows = stores.map { store in
            [
                "\(store.store)", "\(store.objects)", "\(ByteCount(store.bytes))", "\(store.wraps)",
                store.lockedWraps == 0 ? "-" : "\(store.lockedWraps) until " + EraseText.date(store.wrapsUntil),
                store.hidden == 0 ? "-" : "\(store.hidden)",
            ]
        }
        let head =
            begun.map { "\(client) was erased on \(Text.shortTime($0)); another run removes what is left" }
            ?? "erasing \(client) would destroy, for good:"
        let table = Text.table([["STORE", "OBJECTS", "BYTES", "KEYS", "LOCKED KEYS", "OUT OF SIGHT"]] + rows)
        let last = EraseText.readable(
            stores.contains { $0.lockedWraps > 0 }, until: stores.compactMap(\.wrapsUntil).max(), will: "could")
        return ([head, table, last] + problems.map(\.text) + ["next: drp erase run \(client) --confirm \(client)"])
            .joined(separator: "\n")
    }
}

struct EraseAnswer: Answer {
    var receipt: EraseReceipt
    var isComplete: Bool
    var isReadable: Bool
    /// Until when a recovery identity still opens what locks keep; absent if it opens nothing, or the store does not tell.
    var readableUntil: Date?
    /// When the last lock ends.
    var goneBy: Date?
    var problems: [BackupProblem]

    init(_ receipt: EraseReceipt, _ problems: [EraseProblem]) {
        self.receipt = receipt
        isComplete = receipt.isComplete
        isReadable = receipt.isReadable
        readableUntil = receipt.readableUntil
        goneBy = receipt.goneBy
        self.problems = problems.map { BackupProblem(client: receipt.client, store: $0.store, $0.error) }
    }

    var text: String {
        let client = receipt.client
        let rows = receipt.stores.map { store in
            [
                "\(store.store)", "\(store.wraps)",
                store.lockedWraps == 0 ? "-" : "\(store.lockedWraps) until " + EraseText.date(store.wrapsUntil),
                "\(store.objects)",
                store.lockedObjects == 0
                    ? "-" : "\(store.lockedObjects) until " + EraseText.date(store.objectsUntil),
            ]
        }
        var lines = [
            "receipt: \(client) (\(receipt.repository.uuidString.lowercased())) is erased since "
                + "\(Text.shortTime(receipt.begun)), as of \(Text.shortTime(receipt.at))",
            Text.table([["STORE", "KEYS DESTROYED", "KEYS LOCKED", "OBJECTS DESTROYED", "OBJECTS LOCKED"]] + rows),
            EraseText.readable(isReadable, until: readableUntil, will: "can"),
        ]
        lines += problems.map(\.text)
        if !problems.isEmpty {
            lines.append("not done in every store yet; next: drp erase run \(client) --confirm \(client)")
        } else if !isComplete {
            lines.append("after \(EraseText.date(goneBy)), for the rest: drp erase run \(client) --confirm \(client)")
        }
        lines.append("take \(client) out of the fleet file, if it is in it")
        return lines.joined(separator: "\n")
    }
}

enum EraseText {
    static func date(_ date: Date?) -> String { date.map(Text.shortTime) ?? "a time that the store does not tell" }

    static func readable(_ isReadable: Bool, until: Date?, will: String) -> String {
        isReadable
            ? "a recovery identity \(will) still open what locks keep, until \(date(until))"
            : "nobody \(will) read its backups any more"
    }
}

extension Composition {
    fileprivate var eraseJob: EraseJob {
        EraseJob(fleet: fleet, journal: journal, clock: clock, open: Self.openStore)
    }
}
