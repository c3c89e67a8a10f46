/// Where repositories lie, and at which site.
package struct StoreSettings: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// A folder of this machine.
        case folder(path: String)
        case s3(S3)
        case azure(Azure)
    }

    package struct S3: Sendable, Hashable {
        /// `https://host` or `https://host:port`.
        package var endpoint: String
        package var bucket: String
        package var region: String
        package var addressing: Addressing
        /// PEM file of the authorities to trust instead of the system's.
        package var ca: String?
        package var access: SecretSource
        package var secret: SecretSource
        /// Of temporary credentials.
        package var token: SecretSource?

        package init(
            endpoint: String, bucket: String, region: String, addressing: Addressing, ca: String? = nil,
            access: SecretSource, secret: SecretSource, token: SecretSource? = nil
        ) {
            self.endpoint = endpoint
            self.bucket = bucket
            self.region = region
            self.addressing = addressing
            self.ca = ca
            self.access = access
            self.secret = secret
            self.token = token
        }
    }

    /// Where a bucket's name stands in an address.
    package enum Addressing: String, Sendable, Hashable, CaseIterable { case path, host }

    /// A provider's S3 service, told by data alone.
    package enum S3Preset: String, Sendable, Hashable, CaseIterable {
        case aws, scaleway, ovh, ceph

        /// nil where everybody runs their own.
        func endpoint(region: String) -> String? {
            switch self {
            case .aws: "https://s3.\(region).amazonaws.com"
            case .scaleway: "https://s3.\(region).scw.cloud"
            case .ovh: "https://s3.\(region).io.cloud.ovh.net"
            case .ceph: nil
            }
        }

        var addressing: Addressing { self == .ceph ? .path : .host }
    }

    package struct Azure: Sendable, Hashable {
        package var account: String
        package var container: String
        /// `https://host` or `https://host:port`, either with `/ACCOUNT` where it stands in the path.
        package var endpoint: String
        /// PEM file of the authorities to trust instead of the system's.
        package var ca: String?
        package var access: AzureAccess

        package init(account: String, container: String, endpoint: String, ca: String? = nil, access: AzureAccess) {
            self.account = account
            self.container = container
            self.endpoint = endpoint
            self.ca = ca
            self.access = access
        }
    }

    package enum AzureAccess: Sendable, Hashable {
        /// A key of the account.
        case key(SecretSource)
        /// A shared access signature.
        case sas(SecretSource)
    }

    package var name: StoreName
    package var site: SiteName
    package var kind: Kind
}
