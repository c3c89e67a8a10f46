internal import Backup
internal import DRPKit
internal import Foundation

/// Gives every restored MongoDB user that logs in by password a new one, in a file of its own: passwords of the old site end with it.
struct AccountRotation: Sendable {
    let settings: MongoSettings
    /// Where the files go: `mongo-DATABASE-USER` with everything but letters and digits as %XX; mode 0600.
    let folder: String

    func run() async throws {
        try await OwnThread.run("mongo-passwords") {
            let connection = try MongoConnection(settings, side: .target)
            for account in try MongoAccount.read(connection, at: nil) where account.kind == .user {
                guard try account.hasPassword else { continue }
                let password = Secret(NewPassword.make())
                // The file first: a password that nobody knows would lock its user out.
                let path = "\(folder)/mongo-\(Self.fileName(account.database))-\(Self.fileName(account.name))"
                try password.withBytes { try AtomicFile.write(path, $0 + [0x0a], mode: 0o600, .replace) }
                let command = password.withText { text in
                    BSONWriter.document {
                        $0.append("updateUser", account.name)
                        $0.append("pwd", text)
                    }
                }
                _ = try connection.run(command, on: account.database)
            }
        }
    }

    /// Names of users are hostile: they must not lead out of the folder.
    static func fileName(_ name: String) -> String {
        name.utf8.map { byte in
            let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
            return isPlain ? String(UnicodeScalar(byte)) : "%" + Hex.encode([byte])
        }.joined()
    }
}
