package import Foundation

/// A folder of a test's own below the system's temporary folder, removed with the value's last owner.
package final class TemporaryFolder: Sendable {
    package let url: URL
    package var path: String { url.path }

    package init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "drp-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: url, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    package func path(_ name: String) -> String { url.appending(path: name).path }

    deinit {
        // Nothing can be done about a folder that will not go; the next start of the machine clears it.
        try? FileManager.default.removeItem(at: url)
    }
}
