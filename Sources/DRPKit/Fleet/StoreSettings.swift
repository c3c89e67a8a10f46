/// Where repositories lie, and at which site.
package struct StoreSettings: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// A folder of this machine.
        case folder(path: String)
        case s3(S3)
        case azure(Azure)
    }

    package struct S3: Sendable, Hashable {
        package var endpoint: String
        package var bucket: String
        package var region: String
        package var access: SecretSource
        package var secret: SecretSource
    }

    package struct Azure: Sendable, Hashable {
        package var account: String
        package var container: String
        package var key: SecretSource
    }

    package var name: StoreName
    package var site: SiteName
    package var kind: Kind
}
