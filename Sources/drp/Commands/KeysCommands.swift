internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation

struct KeysCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys", abstract: "The keys of backups: make, show, share, rotate, verify.",
        discussion: """
            Examples:
              drp keys init --identity recovery.key
              drp keys init acme
              drp keys show
              drp keys rotate acme
              drp keys verify --identity recovery.key
            """,
        subcommands: [Init.self, Show.self, Add.self, Remove.self, Rotate.self, Verify.self])

    struct Init: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "init", abstract: "Make a recovery identity, or clients' keys and repositories.",
            discussion: """
                Examples:
                  drp keys init --identity recovery.key     prints the drp1… recipient for the fleet file
                  drp keys init acme birch
                  drp keys init --all

                The identity opens every backup and is needed for nothing else: keep its file away from this machine and from
                the stores. A client's keys are made once; running the command again changes nothing.
                """)

        @Argument(help: ArgumentHelp("Clients.", valueName: "client"))
        var clients: [ClientID] = []

        @Flag(name: .long, help: "All clients of the fleet.")
        var all = false

        @Option(name: .long, help: ArgumentHelp("Make a recovery identity in this new file.", valueName: "file"))
        var identity: String?

        @OptionGroup var common: CommonOptions

        func validate() throws {
            let isIdentity = identity != nil
            guard isIdentity != (all || !clients.isEmpty) else {
                throw ValidationError("Give either --identity FILE, or clients, or --all.")
            }
        }

        func run() async throws {
            if let identity {
                try Output.answer(try Self.makeIdentity(identity), json: common.json)
            } else {
                let composition = try await common.composition()
                let wanted = try composition.clients(clients)
                try await composition.shipping {
                    var answer = ClientKeysAnswer()
                    for client in wanted {
                        do {
                            let isNew = try await composition.clientKeys.make(client)
                            let keys = try composition.keys(of: client)
                            answer.keys.append(.init(keys, isNew: isNew, stores: composition.fleet.stores(of: client)))
                        } catch {
                            if clients.count == 1 { throw error }
                            answer.problems.append(BackupProblem(client: client.id, store: nil, error))
                        }
                    }
                    try Output.answer(answer, json: common.json)
                    if !answer.problems.isEmpty { throw ExitStatus(.partial) }
                }
            }
        }

        private static func makeIdentity(_ path: String) throws -> IdentityAnswer {
            let identity = RecoveryIdentity.generate()
            do { try identity.write(to: path, created: SystemClock().now) } catch let error as FileError {
                throw UsageError(
                    error.message, advice: "An identity is never replaced: name a new file, in a folder that exists.")
            }
            return IdentityAnswer(file: path, recipient: "\(identity.recipient)")
        }
    }
}

struct IdentityAnswer: Answer {
    var file: String
    var recipient: String

    var text: String {
        """
        recovery identity  \(file)
        recipient          \(recipient)

        Put the recipient into `recovery:` of the fleet file. The identity opens every client's backups and cannot be made
        again: move it to a safe place away from this machine and from the stores, and keep a copy elsewhere.
        """
    }
}

struct ClientKeysAnswer: Answer {
    struct Keys: Encodable {
        var client: ClientID
        var uuid: UUID
        var epoch: Int
        var fingerprint: String
        var isNew: Bool
        var stores: [StoreName]

        init(_ keys: WriterKeys, isNew: Bool, stores: [StoreSettings]) {
            client = keys.name
            uuid = keys.client
            epoch = keys.epoch
            fingerprint = keys.fingerprint
            self.isNew = isNew
            self.stores = stores.map(\.name)
        }
    }

    var keys: [Keys] = []
    var problems: [BackupProblem] = []

    var text: String {
        let rows = keys.map { key in
            [
                "\(key.client)", "epoch \(key.epoch)", key.fingerprint, key.isNew ? "made" : "was there",
                key.stores.map(\.text).joined(separator: ", "),
            ]
        }
        let table =
            keys.isEmpty
            ? [] : [Text.table([["CLIENT", "EPOCH", "FINGERPRINT", "KEYS", "STORES"]] + rows)]
        let advice =
            keys.contains { $0.isNew }
            ? [
                "",
                "Write the fingerprints down beside the recovery identity: they tell our keys from somebody else's.",
            ] : []
        return (table + problems.map(\.text) + advice).joined(separator: "\n")
    }
}
