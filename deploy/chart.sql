-- connect: let the operator create a lost database again from the database postgres, as databases.sql does.
grant connect on database postgres to {role};
