<?php
// What Nextcloud's app "User Backend using Raw SQL" does with its statements: each is prepared by PDO with named parameters and executed;
// of what it gives, the first column counts. PHP makes and verifies the hashes.
//
// Usage: php nextcloud.php CONFIG HOST PORT PASSWORD, one JSON object {"query": …, "parameters": {…}} on stdin; prints the first column as JSON.
// A parameter {"hash": PASSWORD, "by": "argon2id"} is hashed; {"verify": PASSWORD} as the query's sibling verifies what was found.
[, $config, $host, $port, $password] = $argv;
require $config;
$settings = $CONFIG['user_backend_sql_raw'];
$request = json_decode(file_get_contents('php://stdin'), true, 8, JSON_THROW_ON_ERROR);
$dsn = preg_replace(['/host=[^;]*/', '/port=[^;]*/'], ["host=$host", "port=$port"], $settings['dsn']);
$database = new PDO($dsn, $settings['db_user'], $password, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$algorithms = ['bcrypt' => PASSWORD_BCRYPT, 'argon2i' => PASSWORD_ARGON2I, 'argon2id' => PASSWORD_ARGON2ID];
$parameters = array_map(
    fn ($value) => is_array($value) ? password_hash($value['hash'], $algorithms[$value['by']]) : $value,
    $request['parameters']
);
$statement = $database->prepare($request['raw'] ?? $settings['queries'][$request['query']] . ($request['query'] === 'get_users' ? ' LIMIT 100 OFFSET 0' : ''));
$statement->execute($parameters);
$found = $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_COLUMN, 0) : $statement->rowCount();
if (isset($request['verify'])) {
    $found = password_verify($request['verify'], $found[0] ?? '');
}
echo json_encode($found, JSON_THROW_ON_ERROR), "\n";
