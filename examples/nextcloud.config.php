<?php
// Nextcloud over the users of mail_server, by the app "User Backend using Raw SQL": /var/www/nextcloud/config/mail.config.php, beside its
// own config.php. Accounts made, changed and deleted in Nextcloud count for mail at once. Role mail_admin may do no more than this: it
// cannot rename an address, because everything that belongs to a mailbox stands under it.
$CONFIG = [
    'user_backend_sql_raw' => [
        'dsn' => 'pgsql:host=127.0.0.1;port=5432;dbname=mail_server',
        'db_user' => 'mail_admin',
        'db_password_file' => '/etc/nextcloud/mail_admin.password',
        'queries' => [
            'user_exists' =>
                "SELECT count(*) > 0 FROM users WHERE (local, domain) = (split_part(:username, '@', 1), split_part(:username, '@', 2))",
            'get_users' =>
                'SELECT fqda FROM users_fqda WHERE concat_ws(chr(10), fqda, display_name) ILIKE :search ORDER BY fqda',
            'count_users' =>
                'SELECT count(*) FROM users',
            'create_user' =>
                "INSERT INTO users (local, domain, password_hash) SELECT split_part(:username, '@', 1), split_part(:username, '@', 2), :password_hash",
            'delete_user' =>
                "DELETE FROM users WHERE (local, domain) = (split_part(:username, '@', 1), split_part(:username, '@', 2))",
            'get_password_hash_for_user' =>
                "SELECT password_hash FROM users WHERE (local, domain) = (split_part(:username, '@', 1), split_part(:username, '@', 2))",
            'set_password_hash_for_user' =>
                "UPDATE users SET password_hash = :new_password_hash WHERE (local, domain) = (split_part(:username, '@', 1), split_part(:username, '@', 2))",
            'get_display_name' =>
                "SELECT display_name FROM users WHERE (local, domain) = (split_part(:username, '@', 1), split_part(:username, '@', 2))",
            'set_display_name' =>
                "UPDATE users SET display_name = :new_display_name WHERE (local, domain) = (split_part(:username, '@', 1), split_part(:username, '@', 2))",
        ],
        'hash_algorithm_for_new_passwords' => 'argon2id',
    ],
];
