internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

extension KeysCommands {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Epochs, fingerprints, and who can open the backups.",
            discussion: """
                Examples:
                  drp keys show
                  drp keys show acme --json
                """)

        @Argument(help: ArgumentHelp("Clients; all of them without one.", valueName: "client"))
        var clients: [ClientID] = []

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            var answer = KeysShowAnswer()
            for client in try composition.clients(clients) {
                do { answer.keys.append(try await composition.clientKeys.show(client)) } catch {
                    if clients.count == 1 { throw error }
                    answer.problems.append(BackupProblem(client: client.id, store: nil, error))
                }
            }
            try Output.answer(answer, json: common.json)
            if !answer.problems.isEmpty { throw ExitStatus(.partial) }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add", abstract: "Let one more recipient open all backups of clients.",
            discussion: """
                Examples:
                  drp keys add acme --recipient drp1… --identity recovery.key
                  drp keys add --all --recipient drp1… --identity recovery.key

                Older backups are included, and no data are written again. Give a drill host a recipient of its own: it can be
                removed without touching the recovery identities.
                """)

        @OptionGroup var target: KeysTarget
        @OptionGroup var identity: IdentityOption
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition(identity: identity.identity)
            let recipient = try target.parsed()
            try await target.forEach(composition, json: common.json) { client in
                guard let identity = composition.identity else { return }
                try await composition.clientKeys.add(recipient, to: client, identity: identity)
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "remove", abstract: "Take a recipient's way into the backups of clients.",
            discussion: """
                Examples:
                  drp keys remove acme --recipient drp1…
                  drp keys remove --all --recipient drp1…

                Who kept a copy of a wrapped key can still open what is there now: follow with `drp keys rotate`, so that the next
                backups are closed to them. Recipients of the fleet file are taken out there first.
                """)

        @OptionGroup var target: KeysTarget
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let recipient = try target.parsed()
            try await target.forEach(composition, json: common.json) { client in
                try await composition.clientKeys.remove(recipient, from: client)
            }
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "rotate", abstract: "Begin a new epoch of a client's keys.",
            discussion: """
                Examples:
                  drp keys rotate acme

                For its present recipients. Older backups stay as they are and can be restored; the next backup shares nothing with
                them and is a full one. Write the new fingerprint down beside the recovery identity.
                """)

        @Argument(help: ArgumentHelp("The client.", valueName: "client"))
        var client: ClientID

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let client = try composition.client(client)
            try await composition.shipping {
                try await composition.clientKeys.rotate(client)
                try Output.answer(
                    KeysShowAnswer(keys: [try await composition.clientKeys.show(client)]), json: common.json)
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify", abstract: "Prove that a recovery identity opens every client's backups.",
            discussion: """
                Examples:
                  drp keys verify --identity recovery.key
                  drp keys verify acme --identity recovery.key

                Every epoch in every store, and each fingerprint against the writer's. Do it with each identity where it is kept.
                """)

        @Argument(help: ArgumentHelp("Clients; all of them without one.", valueName: "client"))
        var clients: [ClientID] = []

        @OptionGroup var identity: IdentityOption
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition(identity: identity.identity)
            guard let identity = composition.identity else { return }
            var answer = KeysVerifyAnswer()
            for client in try composition.clients(clients) {
                do {
                    let failures = try await composition.clientKeys.verify(client, identity: identity)
                    for (store, error) in failures.sorted(by: { $0.key.text < $1.key.text }) {
                        answer.problems.append(BackupProblem(client: client.id, store: store, error))
                    }
                    let keys = try composition.keys(of: client)
                    for settings in composition.fleet.stores(of: client) where failures[settings.name] == nil {
                        answer.opened.append(
                            .init(client: client.id, store: settings.name, epochs: keys.all.map(\.epoch)))
                    }
                } catch {
                    answer.problems.append(BackupProblem(client: client.id, store: nil, error))
                }
            }
            try Output.answer(answer, json: common.json)
            if let first = answer.problems.first { throw ExitStatus(answer.opened.isEmpty ? first.code : .partial) }
        }
    }
}

/// Clients and the recipient that `add` and `remove` are about.
struct KeysTarget: ParsableArguments {
    @Argument(help: ArgumentHelp("Clients.", valueName: "client"))
    var clients: [ClientID] = []

    @Flag(name: .long, help: "All clients of the fleet.")
    var all = false

    @Option(name: .long, help: ArgumentHelp("As `drp keys init --identity` prints it.", valueName: "drp1…"))
    var recipient: String

    func validate() throws {
        guard all != !clients.isEmpty else { throw ValidationError("Give either clients or --all.") }
    }

    func parsed() throws -> Recipient {
        guard let parsed = Recipient(recipient) else {
            throw UsageError(
                "'\(recipient)' is no recipient",
                advice: "`drp keys init --identity FILE` prints one: drp1… as a whole.")
        }
        return parsed
    }

    /// Does it for each client, and answers with what is true afterwards.
    func forEach(_ composition: Composition, json: Bool, _ body: (Client) async throws -> Void) async throws {
        let wanted = try composition.clients(clients)
        try await composition.shipping {
            var answer = KeysShowAnswer()
            for client in wanted {
                do {
                    try await body(client)
                    answer.keys.append(try await composition.clientKeys.show(client))
                } catch {
                    if clients.count == 1 { throw error }
                    answer.problems.append(BackupProblem(client: client.id, store: nil, error))
                }
            }
            try Output.answer(answer, json: json)
            if !answer.problems.isEmpty { throw ExitStatus(.partial) }
        }
    }
}

struct KeysShowAnswer: Answer {
    var keys: [ClientKeys.Summary] = []
    var problems: [BackupProblem] = []

    var text: String {
        let blocks = keys.map { keys in
            var rows = keys.epochs.map { ["  epoch \($0.epoch)", $0.fingerprint] }
            rows += keys.holders.map { holder in
                let gap = holder.missing.map(String.init).joined(separator: ", ")
                return [
                    "  \(holder.role.rawValue)",
                    holder.recipient + (gap.isEmpty ? "" : "\n    CANNOT open epoch \(gap)"),
                ]
            }
            return "\(keys.client)  \(keys.uuid.uuidString.lowercased())\n" + Text.table(rows)
        }
        return (blocks + problems.map(\.text)).joined(separator: "\n")
    }
}

struct KeysVerifyAnswer: Answer {
    struct Opened: Encodable {
        var client: ClientID
        var store: StoreName
        var epochs: [Int]
    }

    var opened: [Opened] = []
    var problems: [BackupProblem] = []

    var text: String {
        let rows = opened.map {
            ["\($0.client)", "\($0.store)", $0.epochs.map(String.init).joined(separator: ", "), "opens"]
        }
        let table = rows.isEmpty ? [] : [Text.table([["CLIENT", "STORE", "EPOCHS", ""]] + rows)]
        return (table + problems.map(\.text)).joined(separator: "\n")
    }
}
